"""A model of one's own: a `Network` plugs into `Decoder` and `fit` by saying `model=`."""

from torch import nn

from poyo.decoder import Decoder
from poyo.model import Network
from poyo.tokens import SPIKE
from poyo.train import fit


class Recurrent(Network):
    """A GRU over the embeddings of the units that spike in bins of 50 ms."""

    def __init__(self, *, size, windows, **rows):
        super().__init__(size=size, windows=windows, **rows)
        self.bins = round(windows.length / 0.05)
        self.gru = nn.GRU(size.dim, size.dim, batch_first=True)
        self.readout = nn.Linear(size.dim, self.outputs)

    def forward(self, *, input_timestamps, output_timestamps, session_index, **batch):
        spikes = batch["input_mask"] & (batch["input_token_type"] == SPIKE)
        x = self.unit_emb(batch["input_unit_index"]) * spikes[..., None]  # (B, N, D)
        place, asked = (
            (times / 0.05).long().clamp(0, self.bins - 1)[..., None].expand(-1, -1, x.shape[2])
            for times in (input_timestamps, output_timestamps)
        )
        counts = x.new_zeros(len(x), self.bins, x.shape[2]).scatter_add(1, place, x)
        return self.readout(
            self.gru(counts + self.session_emb(session_index)[:, None])[0].gather(1, asked)
        )


def test_a_model_of_ones_own_is_fitted_saved_and_adopted(easy, learning, windows, tmp_path):
    decoder = Decoder.new([easy()], size="smoke", windows=windows, model=Recurrent)
    fit(decoder, [easy()], learning)
    decoder.save(tmp_path / "own.pt")
    back = Decoder.load(tmp_path / "own.pt", model=Recurrent)
    assert back.score([easy()]) == decoder.score([easy()]) and back.score([easy()])["easy"] > 0.3
    assert back.adopt([easy("new", units=5)]).decode(easy("new", units=5)).prediction.shape[1] == 2
