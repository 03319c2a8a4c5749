"""A real model server answers the real client: `transformers serve` with a small random model, where it can run.

The model writes nonsense, so the answer is a bad one; it has gone the whole way, and is in the ledger.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.asking import REQUEST, Answer, settings
from vtscot.endpoint.answers import content_of
from vtscot.endpoint.client import ChatClient
from vtscot.errors import TeacherError
from vtscot.ledger import Ledger

NEEDED = ("torch", "transformers", "fastapi", "uvicorn")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"a model server needs {', '.join(MISSING)}: transformers[serving]"
)
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of a few thousand parameters that knows bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<end>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4096,
        eos_token_id=0,
        pad_token_id=0,
        bos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    """The address of the server, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["serve", str(model), "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "transformers.cli.transformers", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail("the server did not start within three minutes")


def test_a_model_server_answers_the_client(url: str, model: Path, ledger: Ledger) -> None:
    asked = settings(url, model=str(model), max_output_tokens=16, max_answers=1, timeout_s=120)

    async def run() -> None:
        client = ChatClient(asked, ledger)
        try:
            await client.ask(REQUEST, Answer, lambda answer: answer)
        finally:
            await client.close()

    with pytest.raises(TeacherError) as caught:
        asyncio.run(run())
    assert caught.value.reason in ("not-json", "cut-off", "schema", "empty")
    raw = ledger.answer(REQUEST.key(asked.asks(), 0))
    assert raw is not None, caught.value
    assert ledger.usage().answers == 1
    assert ledger.usage().input_tokens > 0
    if caught.value.reason in ("not-json", "schema"):
        assert content_of(raw)
