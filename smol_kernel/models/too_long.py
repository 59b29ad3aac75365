"""Reads in a provider's words whether a conversation is longer than a model can read, and whether it is so for the room
that its reply was to have. Called by `failures.py`."""

from __future__ import annotations

import re

_TOO_LONG = (
    "context_length_exceeded",  # OpenAI and what imitates it: the code
    "maximum context length",  # OpenAI, vLLM, OpenRouter
    "model's context length is only",  # vLLM since 0.12
    "longer than the maximum model length of",  # vLLM
    "context window",  # OpenAI's Responses, LM Studio, Groq
    "context length exceeded",
    "exceeds the model's context",
    "exceeds the available context size",  # llama.cpp
    "context size has been exceeded",  # llama.cpp and LM Studio, with 500
    "loaded with context length of only",  # LM Studio
    "greater than the context length",  # LM Studio
    "exceeded max context length",  # Ollama
    "exceed context limit",  # Anthropic: input and max_tokens together
    "prompt is too long",  # Anthropic
    "input is too long for requested model",  # Bedrock
    "too many input tokens",
    "exceeds the maximum number of tokens allowed",  # Gemini
    "exceeds the maximum allowed input length",  # Databricks
    "inputs tokens + max_new_tokens must be",  # Hugging Face TGI, with backticks that are left out here
    "reduce the length of the messages",
    "reduce your message size",  # Groq, with 413: more at once than it takes in a minute
    "too large for model with",  # Mistral
    "too many tokens: total tokens",  # Cohere
    "maximum prompt length is",  # xAI
    "exceeded model token limit",  # Moonshot
    "range of input length should be",  # DashScope
    "prompt exceeds max length",  # Zhipu
    "tokens_limit_reached",  # GitHub Models: the code
    "request_too_large",
)
"""What providers say of a conversation that is too long, in lower case."""
_ASKED = re.compile(
    r"max_(?:completion_)?tokens'? is too large: (\d{1,12})\b"  # vLLM
    r"|requested (\d{1,12}) output tokens"  # vLLM since 0.12
    r"|\b(\d{1,12}) in the (?:completion|output)"  # OpenAI, OpenRouter, older vLLM
    r"|max_tokens exceed context limit: \d{1,12} \+ (\d{1,12})\b"  # Anthropic
    r"|\b(\d{1,12}) max_new_tokens"  # TGI
)
_READS = re.compile(
    r"context length is(?: only)? (\d{1,12})\b|context limit: \d{1,12} \+ \d{1,12} > (\d{1,12})\b"
    r"|must be <= (\d{1,12})\b"
)


def says_too_long(words: str) -> bool:
    """Whether `words`, in lower case and without backticks, say that a conversation is too long."""
    return any(sign in words for sign in _TOO_LONG)


def asked_and_whole(words: str) -> tuple[int, int] | None:
    """How many tokens were asked for the reply, and how many the model has for it and the conversation together."""
    asked, whole = _ASKED.search(words), _READS.search(words)
    return (int(asked[asked.lastindex or 0]), int(whole[whole.lastindex or 0])) if asked and whole else None
