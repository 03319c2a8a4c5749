"""From the language model's hidden state at `[SEG]` to a prompt token of the mask decoder."""

from __future__ import annotations

from torch import Tensor, nn


class SegProjector(nn.Module):  # type: ignore[misc]
    """Linear-ReLU-Linear: (N, hidden) -> (N, prompt)."""

    def __init__(self, hidden: int, inner: int, prompt: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(hidden, inner), nn.ReLU(), nn.Linear(inner, prompt))

    def forward(self, hidden: Tensor) -> Tensor:
        """Prompt tokens (N, prompt) of hidden states (N, hidden)."""
        return self.layers(hidden)
