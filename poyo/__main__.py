"""What the stages of dvc.yaml call; code, run and render also serve a notebook alone.

python -m poyo code NAME ...                            notebooks/NAME.py -> runs/code/NAME
python -m poyo run NAME [--as KEY] [-p key value ...]   -> runs/notebooks/KEY.ipynb
python -m poyo render NAME [--from KEY] [--as PAGE]     -> notebooks/rendered/PAGE.ipynb
python -m poyo params      reads params.yaml strictly   -> runs/params.txt
python -m poyo collect     what was found in runs       -> figures/data, figures/metrics.json
python -m poyo seconds     how long each page took here -> figures/data/seconds.csv"""

import argparse
import sys
from collections.abc import Sequence

from . import ROOT, replacing
from .config import ConfigError
from .processes import end_tidily


def params(args: argparse.Namespace) -> None:
    """The first stage of the graph: a wrong key stops everything before anything has run."""
    from .data.sources import SCOPES
    from .model import SIZES
    from .study import paper, profile

    read = profile.load(ROOT / "params.yaml")
    asked = [("data.corpus", [read.data.corpus], profile.CORPORA), ("size", [read.size], SIZES)]
    asked += [(f"{s}.size", [getattr(read, s).size], SIZES) for s in ("evidence", "scale")]
    asked.append(("speed.sizes", [*read.speed.sizes], SIZES))
    asked.append(("adapt.few", [*read.adapt.few], paper.COLUMNS))
    for name, row in read.models.items():
        asked.append((f"models.{name}.size", [row.size], SIZES))
        asked.append((f"models.{name}.scope", [row.scope], SCOPES))
    for name, columns in read.adapt.transfer.items():
        asked.append((f"adapt.transfer.{name}", [*columns], paper.COLUMNS))
    for key, names, known in asked:
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(f"{key}: {unknown[0]!r} is unknown; known: {', '.join(known)}")
    (ROOT / read.data.root).mkdir(parents=True, exist_ok=True)  # `data` depends on what is in it
    with replacing(ROOT / "runs/params.txt") as scratch:
        scratch.write_text("params.yaml was read: every key is known\n")


def collect(args: argparse.Namespace) -> None:
    from .study import profile, results

    results.collect(profile.load(ROOT / "params.yaml"))


def seconds(args: argparse.Namespace) -> None:
    from .study import notebook

    notebook.seconds(ROOT)


def notebook(args: argparse.Namespace) -> None:
    from .study import notebook as verbs

    if args.command == "code":
        for name in args.name:
            verbs.code(name, ROOT)
    elif args.command == "render":
        verbs.render(args.name, args.key, ROOT, args.page)
    else:
        verbs.run(args.name, args.key, verbs.parameters(args.pairs), ROOT)


def main(argv: Sequence[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m poyo", None, __doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("code", "run", "render"):
        verb = commands.add_parser(command)
        verb.set_defaults(do=notebook)
        more = "+" if command == "code" else None
        verb.add_argument("name", metavar="NAME", nargs=more, help="of a file notebooks/NAME.py")
    for do in (params, collect, seconds):
        commands.add_parser(do.__name__).set_defaults(do=do)
    for command, flag in (("run", "--as"), ("render", "--from")):
        told = "the name of the executed notebook"
        commands.choices[command].add_argument(flag, dest="key", metavar="KEY", help=told)
    told = "the name of the page, where it is not NAME"
    commands.choices["render"].add_argument("--as", dest="page", metavar="PAGE", help=told)
    # The rest of the line is parameters: argparse would take -1e-3 for an option.
    run, rest, told = commands.choices["run"], argparse.REMAINDER, "key value ...; comes last"
    run.add_argument("-p", dest="pairs", metavar="...", nargs=rest, default=[], help=told)
    args = parser.parse_args(argv)
    end_tidily()
    try:
        args.do(args)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except ConfigError as error:
        print(f"{parser.prog} {args.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
