"""PyTorch's scores of noise, in float32: what a device's are compared with before its engine starts.

Where a CPU is the device, nothing else of a worker needs PyTorch, which takes seconds of Python's lock to import and
half a gigabyte to keep. So it scores in a process of its own (`worker.inference.reference_process`), which ends then:
``python -P -m worker.inference.reference`` imports PyTorch, reads from standard input the folders of both
versions, as JSON, and writes its logits to standard output, as ``.npy``, or as JSON why the models are refused.
"""

import gc
import json
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np

from worker.errors import Code, ModelRefused, Unavailable
from worker.inference import reference_process
from worker.inference.entry import Entry
from worker.inference.model_card import ModelCard, load_card
from worker.inference.runner import Inputs, Logits
from worker.inference.version_folder import CARD_FILE
from worker.inference.weights_file import read_weights

COMPARED = 3
"""Images of noise."""

_REFUSED: Final = 3


def by_another_process(entries: Sequence[Entry]) -> Logits:
    """Let another process score the noise.

    Args:
        entries: of DLR_LH and DLR_BM.

    Raises:
        ModelRefused: what `worker.inference.weights.load_network` raises.
        Unavailable: ``device_unavailable``: the process ended before it had scored.
    """
    status, output = reference_process.score([one.folder for one in entries])
    if status == _REFUSED:
        said = json.loads(output)
        raise ModelRefused(Code(said["code"]), said["reason"])
    if status:
        reason = f"PyTorch, which the device is compared with, ended with status {status}"
        raise Unavailable(Code.DEVICE_UNAVAILABLE, reason)
    logits: Logits = np.load(BytesIO(output), allow_pickle=False)
    return logits


def by_pytorch(cards: Sequence[ModelCard], contents: Sequence[Sequence[bytes]]) -> tuple[Any, Logits]:
    """Return both models as PyTorch has them, a `worker.inference.model_pair.ModelPair`, and its logits of the noise.

    Args:
        cards: of DLR_LH and DLR_BM.
        contents: of each one's files of weights.

    Raises:
        ModelRefused: what `worker.inference.weights.network_of` raises.
    """
    from worker.inference.model_pair import ModelPair, TorchRunner
    from worker.inference.weights import network_of

    networks = [[network_of(card, one) for one in of_card] for card, of_card in zip(cards, contents, strict=True)]
    pair = ModelPair(cards, networks)
    return pair, TorchRunner(pair).run(*Inputs.of(cards).noise(COMPARED))


def main() -> int:
    """Score the noise, and return the exit status."""
    gc.disable()  # it would look through all of torch, again and again, while that is imported
    import worker.inference.model_pair
    import worker.inference.weights  # noqa: F401

    asked = sys.stdin.buffer.read()
    if not asked:  # whoever began this process has ended
        return 0
    folders = [Path(folder) for folder in json.loads(asked)]
    try:
        entries = [Entry(load_card(folder / CARD_FILE), active=True, folder=folder) for folder in folders]
        contents = [
            [read_weights(one.card, path, place) for place, path in enumerate(one.weights_paths)] for one in entries
        ]
        _, logits = by_pytorch([one.card for one in entries], contents)
    except ModelRefused as refused:
        sys.stdout.write(json.dumps({"code": refused.code.value, "reason": refused.reason}))
        return _REFUSED
    written = BytesIO()
    np.save(written, logits)
    sys.stdout.buffer.write(written.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
