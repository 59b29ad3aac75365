"""The tools that come with the package."""

from smol_kernel.tools.defaults.final_answer import FinalAnswerTool
from smol_kernel.tools.defaults.user_input import UserInputTool

__all__ = ["FinalAnswerTool", "UserInputTool"]
