"""`/tokenize`, `/detokenize` and `/tokenizer_info`, in vLLM's shapes: what lm-eval's remote tokenizer and our own `Endpoint` ask for."""

from __future__ import annotations

from typing import Any

from reasonry.core import Prompt
from reasonry.lm.local import LocalLM
from reasonry.serve.catalogue import Catalogue
from reasonry.serve.errors import Refusal
from reasonry.serve.requests import DetokenizeBody, TokenizeBody, chat_messages, read
from reasonry.serve.tokens import token_bytes, written
from reasonry.serve.work import window


async def tokenize(content: bytes, catalogue: Catalogue) -> dict[str, Any]:
    """Ids of a text or of rendered messages. A request without a model means the first one served."""
    body = read(content, TokenizeBody)
    lm = catalogue.plain(body.model)
    local = lm if isinstance(lm, LocalLM) else None
    if (body.prompt is None) == (body.messages is None):
        raise Refusal("prompt and messages: send exactly one of them", "prompt")
    if local is None and (odd := next((f for f in ("add_special_tokens", "return_token_strs") if getattr(body, f)), None)):
        raise Refusal(f"{odd} is not offered for {lm.name}, whose tokenizer is elsewhere; leave it out", odd)
    if body.messages is not None:
        prompt: Prompt = chat_messages(body.messages)
        if not body.add_generation_prompt:
            if local is None:
                raise Refusal(f"add_generation_prompt cannot be false for {lm.name}, whose tokenizer is elsewhere", "add_generation_prompt")
            prompt = local.tokenizer.encode(local.tokenizer.render(prompt, add_generation_prompt=False))
    else:
        prompt = body.prompt or ""
        if local is not None and body.add_special_tokens is not None:
            prompt = local.tokenizer.encode(prompt, special=body.add_special_tokens)
    ids = (await lm.encode(prompt)) if prompt else ()
    reply: dict[str, Any] = {"count": len(ids), "tokens": list(ids), "max_model_len": None}
    if local is not None:
        reply["max_model_len"] = window(local)
        if body.return_token_strs:
            reply["token_strs"] = [written(token_bytes(local.tokenizer, i)) for i in ids]
    return reply


async def detokenize(content: bytes, catalogue: Catalogue) -> dict[str, Any]:
    """The text of ids, special tokens left out."""
    body = read(content, DetokenizeBody)
    return {"prompt": await catalogue.plain(body.model).decode(tuple(body.tokens))}


def info(catalogue: Catalogue) -> dict[str, Any]:
    """The first model's special tokens and chat template. Raises Refusal with 404 where its tokenizer is elsewhere."""
    lm = catalogue.plain(None)
    if not isinstance(lm, LocalLM):
        raise Refusal(f"{lm.name} gives no tokenizer_info, for its tokenizer is elsewhere", status=404)
    settings = lm.tokenizer.settings
    tokens = {name: settings.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    plain = {name: t["content"] if isinstance(t, dict) else t for name, t in tokens.items()}
    return {**plain, "chat_template": lm.tokenizer.templates.get("default")}
