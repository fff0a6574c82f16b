"""`/v1/completions` and `/v1/chat/completions`, so that clients of OpenAI's protocol can ask the models that write.

Completions continue a text (language modelling) or write something for it (generation); chats are answered by dialogue
models, to which system messages say what the speaker is like. The model's own decoding options hold unless the request
says otherwise: `temperature` 0 takes the best token each time, another `temperature`, `top_p` or `n` above 1 draws
tokens. What OpenAI has no name for stands in `decoding`. Parameters that are not known here are refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from zoo_cli.serve.exchange import begin, host_of, json_response, record_of, route_for, seconds_of, unless_gone
from zoo_cli.serve.jobs import Job, WrittenAnswer
from zoo_cli.serve.openai_bodies import ChatCompletion, ChatRequest, CommonRequest, Completion, CompletionRequest
from zoo_cli.serve.refusals import Refusal
from zoo_cli.serve.served import ServedModel
from zoo_cli.serve.streaming import Events, event, event_response

TASKS = {"/v1/completions": ("language_modeling", "generation"), "/v1/chat/completions": ("dialogue",)}
"""Tasks that each endpoint serves."""
_REASONS = {"eos": "stop", "length": "length", "exhausted": "stop"}
_DONE = b"data: [DONE]\n\n"


class Cutter:
    """A text that ends before the first of some strings, as its pieces come in.

    The first is the one that is complete first, as the rest of the text would not have been written then; of two that
    end at the same place, the longer one.

    Args:
        stops: the strings.

    Attributes:
        found: whether one has come.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def add(self, piece: str) -> str:
        """What the piece adds; the beginning of one of the strings waits for what follows."""
        self._held += piece
        spans = [(start + len(stop), start) for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if spans:
            self.found = True
            return self._release(min(spans)[1])
        begun = (size for stop in self._stops for size in range(1, len(stop)) if self._held.endswith(stop[:size]))
        return self._release(len(self._held) - max(begun, default=0))

    def end(self) -> str:
        """What is left when no more comes."""
        return "" if self.found else self._release(len(self._held))

    def _release(self, count: int) -> str:
        released, self._held = self._held[:count], self._held[count:]
        return released


class _Reply:
    """The envelope of one request's answer.

    Args:
        request: the HTTP request.
        model: that answers.
        body: the request's.
    """

    def __init__(self, request: Request, model: ServedModel, body: CommonRequest) -> None:
        self.chat = isinstance(body, ChatRequest)
        self.body = body
        kind = "chat.completion" if self.chat else "text_completion"
        name = f"{'chatcmpl' if self.chat else 'cmpl'}-{record_of(request.scope).id}"
        self.envelope = {"id": name, "object": kind, "created": int(time.time()), "model": model.name}
        self.envelope["system_fingerprint"] = model.version

    def whole(self, jobs: Sequence[Job], beginnings: Sequence[str]) -> dict[str, Any]:
        """The response to a request that does not stream; each text follows the beginning of its prompt."""
        choices: list[dict[str, Any]] = []
        written = 0
        for job, beginning in zip(jobs, beginnings, strict=True):
            answer = job.future.result()
            for each in answer.get("texts") or [answer]:
                cutter = Cutter(self.body.stops)
                text = beginning + cutter.add(each["text"]) + cutter.end()
                reason = "stop" if cutter.found else _REASONS[each["finish_reason"]]
                content = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
                choices.append({"index": len(choices), **content, "logprobs": None, "finish_reason": reason})
                written += each["tokens"]
        usage = _usage(sum(job.prompt_tokens for job in jobs), written)
        return {**self.envelope, "choices": choices, "usage": usage}

    async def chunks(self, written: WrittenAnswer, beginning: str) -> Events:
        """The response to a request that streams."""
        usage = self.body.stream_options is not None and self.body.stream_options.include_usage
        cutter = Cutter(self.body.stops)
        begun = False
        try:
            async for piece in written:
                if not begun:
                    begun = True
                    yield self._chunk(beginning, first=True)
                if text := cutter.add(piece):
                    yield self._chunk(text)
                if cutter.found:
                    break
            if not begun:
                yield self._chunk(beginning, first=True)
            if text := cutter.end():
                yield self._chunk(text)
            yield self._chunk("", reason="stop" if cutter.found else _REASONS[written.answer["finish_reason"]])
            if usage:
                yield self._event([], _usage(written.prompt_tokens, written.tokens))
            yield _DONE
        finally:
            written.close()

    def _chunk(self, text: str, first: bool = False, reason: str | None = None) -> bytes:
        content: dict[str, Any] = {"text": text}
        if self.chat:
            delta = {"role": "assistant", "content": text} if first else {"content": text}
            content = {"delta": delta if reason is None else {}}
        return self._event([{"index": 0, **content, "logprobs": None, "finish_reason": reason}])

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
        kind = {"object": "chat.completion.chunk"} if self.chat else {}
        return event({**self.envelope, **kind, "choices": choices, **({"usage": usage} if usage else {})})


def _usage(read: int, written: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


async def _respond(
    request: Request, model: ServedModel, body: CommonRequest, values: list[dict[str, Any]], beginnings: list[str]
) -> Response:
    """Answer inputs in OpenAI's form.

    Args:
        request: the HTTP request.
        model: that answers.
        body: of the request.
        values: the inputs, without decoding options.
        beginnings: what the text of each input begins with.
    """
    begin(request, model, len(values))
    changes = body.changes()
    values = [{**value, "decoding": changes} for value in values]
    places = [f"prompt[{index}]" for index in range(len(values))] if len(values) > 1 else [""]
    reply = _Reply(request, model, body)
    seconds = seconds_of(request, model)
    if body.stream:
        if len(values) > 1:
            raise Refusal("several-texts", "only one text can be sent while it is written", field="stream")
        return await event_response(request, reply.chunks(model.stream(values[0], seconds, places[0]), beginnings[0]))
    jobs = await unless_gone(request, model.finish(values, seconds, places))
    return json_response(reply.whole(jobs, beginnings), most=model.limits.answer_bytes)


def router() -> APIRouter:
    """Both endpoints."""
    routes = APIRouter(tags=["OpenAI"])

    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Continue texts, or write something for them, as OpenAI's completions."""
        model = host_of(request).find(body.model, *TASKS["/v1/completions"])
        prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        values = [{"text": prompt} for prompt in prompts]
        return await _respond(request, model, body, values, [prompt if body.echo else "" for prompt in prompts])

    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        """Go on with a dialogue, as OpenAI's chat completions."""
        model = host_of(request).find(body.model, *TASKS["/v1/chat/completions"])
        return await _respond(request, model, body, [body.value()], [""])

    for path, endpoint, asked, answered in (
        ("/v1/completions", completions, CompletionRequest, Completion),
        ("/v1/chat/completions", chat_completions, ChatRequest, ChatCompletion),
    ):
        routes.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            operation_id=endpoint.__name__,
            response_model=answered,
            route_class_override=route_for(asked),
        )
    return routes
