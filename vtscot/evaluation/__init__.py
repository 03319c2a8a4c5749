"""Scores of predictions, equal to those of the official scripts, and the archives that servers take."""

from vtscot.evaluation.benchmarks import BENCHMARKS, Benchmark, benchmark_of
from vtscot.evaluation.evaluation import Evaluation, Row, evaluate
from vtscot.evaluation.extras import HasActions, HasForegrounds
from vtscot.evaluation.opening import open_predictions
from vtscot.evaluation.predictions import Asked, Prediction, Predictions
from vtscot.evaluation.scoring import Rules, Scores
from vtscot.evaluation.submission import SERVERS, Server, Submission, server_of, submit
from vtscot.evaluation.summary import Summary, figures, summarize
from vtscot.evaluation.truth import Truth, Unscorable, read_truth

__all__ = [
    "BENCHMARKS",
    "SERVERS",
    "Asked",
    "Benchmark",
    "Evaluation",
    "HasActions",
    "HasForegrounds",
    "Prediction",
    "Predictions",
    "Row",
    "Rules",
    "Scores",
    "Server",
    "Submission",
    "Summary",
    "Truth",
    "Unscorable",
    "benchmark_of",
    "evaluate",
    "figures",
    "open_predictions",
    "read_truth",
    "server_of",
    "submit",
    "summarize",
]
