"""The offline teacher: thoughts from tracks, expression and the pixels of the frames shown so far."""

from vtscot.teacher.oracle.teacher import OracleTeacher

__all__ = ["OracleTeacher"]
