"""Text to token ids and back, chat messages to text, for any Hugging Face folder with a `tokenizer.json`.

Invariants. Ids are those of the folder's `tokenizer.json`, and they and rendered chats equal transformers' fast tokenizer there. The files
of a folder are kept as bytes and written back unchanged: loading and saving changes nothing. Text that goes out token by token
(`Detokenizer`) is, piece after piece, exactly the text `decode` gives for all the ids.

One difference: for folders of class `LlamaTokenizer` (Llama 2 and its like) transformers 5 rebuilds the tokenizer from its vocabulary and
splits leading spaces otherwise than the file says; we follow the file, as transformers 4 does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import tokenizers
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from reasonry.core import Ids, Message, UserError

FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "tokenizer.model", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""Files of a checkpoint folder that belong to its tokenizer; with `additional_chat_templates/*.jinja`."""

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Special tokens with a name; a chat template sees each under it."""

SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Qwen2's pre-tokeniser: a word takes its leading space, every digit stands alone. transformers applies this very pattern to folders
of the Qwen families, whatever their `tokenizer.json` says, so tokenizers trained here use it too."""


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A tokenizer, its chat template and its end tokens. Made by `load` or `train`; immutable, safe to share between threads."""

    files: Mapping[str, bytes]
    """Relative file name -> content; the truth everything else is read from."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """`config.json` and `generation_config.json` of the model beside it, the second over the first; read for end tokens only."""
    where: str = "this tokenizer"
    """Folder name, for error sentences."""

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """Reads a checkpoint folder. Raises UserError when it has no `tokenizer.json`, or one that cannot be read."""
        folder = Path(folder)
        if not (folder / "tokenizer.json").is_file():
            raise UserError(
                f"tokenizer folder {folder} holds no tokenizer.json; save it once with transformers' AutoTokenizer, which writes that file"
            )
        names = [n for n in FILES if (folder / n).is_file()]
        names += sorted(p.relative_to(folder).as_posix() for p in folder.glob("additional_chat_templates/*.jinja"))
        config: dict[str, Any] = {}
        for name in ("config.json", "generation_config.json"):
            if (folder / name).is_file():
                config |= _json((folder / name).read_bytes(), f"{folder}/{name}")
        tokenizer = cls({n: (folder / n).read_bytes() for n in names}, config, str(folder))
        _ = tokenizer.backend, tokenizer.settings  # a bad file is refused here, not at first use
        return tokenizer

    def save(self, folder: str | Path) -> None:
        """Writes the files it was read from, byte for byte."""
        for name, content in self.files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str],
        chat_template: str,
        eos: str = "<|im_end|>",
        pad: str = "<|endoftext|>",
        markup: Sequence[str] = (),
    ) -> Tokenizer:
        """Byte-level BPE after NFC: every byte is in the alphabet, so nothing is unknown; every digit is a token of its own.

        Special tokens take the first ids, in the order given, then `markup`: tokens of one id that are text nevertheless, which decoding
        keeps (`<think>`, `<tool_call>`). Raises UserError when `eos` or `pad` is not among them, or when
        `vocab_size` leaves no room for the 256 bytes.
        """
        for name, token in (("eos", eos), ("pad", pad)):
            if token not in special_tokens:
                raise UserError(f"{name} is {token!r}, which is not among the special tokens {list(special_tokens)}; add it there")
        added = (*special_tokens, *markup)
        if vocab_size < 256 + len(added):
            raise UserError(f"vocab_size is {vocab_size} but must be at least {256 + len(added)}: 256 bytes and the added tokens")
        backend = tokenizers.Tokenizer(models.BPE())
        backend.normalizer = normalizers.NFC()
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[AddedToken(t, special=True, normalized=False) for t in added],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        settings = {
            "tokenizer_class": "Qwen2Tokenizer", "bos_token": None, "eos_token": eos, "pad_token": pad, "unk_token": None,
            "extra_special_tokens": [t for t in special_tokens if t not in (eos, pad)], "clean_up_tokenization_spaces": False,
        }  # fmt: skip
        spec = json.loads(backend.to_str())
        for token in spec["added_tokens"]:
            token["special"] = token["content"] not in markup
        files = {
            "tokenizer.json": json.dumps(spec, indent=2, ensure_ascii=False).encode(),
            "tokenizer_config.json": json.dumps(settings, indent=2, ensure_ascii=False).encode() + b"\n",
            "chat_template.jinja": chat_template.encode(),
        }
        return cls(files)

    def encode(self, text: str, special: bool = False) -> Ids:
        """Token ids of a text. Special tokens written in it are read as such.

        Nothing is put around it (transformers' `add_special_tokens=False`), unless `special` is true: then whatever the checkpoint's
        post-processor adds, such as Llama's beginning-of-sequence token. Rendered chats hold theirs already.
        """
        return tuple(self.backend.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """The text of token ids. Bytes that are no UTF-8 read as U+FFFD; no spaces are tidied; ids beyond the vocabulary are nothing."""
        return self.backend.decode(list(ids), skip_special_tokens=skip_special)

    def render(
        self,
        messages: Iterable[Message | Mapping[str, Any]],
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """Chat messages as the model's own template writes them, by default with the assistant's turn opened.

        `tools` are JSON schemas; `variables` are whatever else the template reads (`enable_thinking`). Raises UserError when
        there is no chat template, or when it refuses the messages.
        """
        chat = [{"role": m.role, "content": m.content} if isinstance(m, Message) else dict(m) for m in messages]
        chat = [{k: v for k, v in m.items() if v is not None} for m in chat]
        name = "tool_use" if tools is not None and "tool_use" in self.templates else "default"
        if name not in self.templates:
            raise UserError(f"{self.where} has no chat template; give raw text instead of messages, or add a chat_template.jinja")
        known = {k: v for k in NAMED if (v := self._named(k)) is not None}
        try:
            return self._compiled[name].render(
                messages=chat, tools=tools, documents=None, add_generation_prompt=add_generation_prompt, **{**known, **variables}
            )
        except (jinja2.TemplateError, TypeError) as e:
            raise UserError(f"the chat template of {self.where} refuses these messages: {e}") from e

    def id_of(self, token: str) -> int:
        """The id of one token by its spelling in the vocabulary. Raises UserError when there is none."""
        if (i := self.backend.token_to_id(token)) is None:
            raise UserError(f"token {token!r} is not in the vocabulary of {self.where}; use encode for text of more than one token")
        return i

    @property
    def vocab_size(self) -> int:
        """Tokens it knows, special ones included. A model's embedding may have more rows."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    @cached_property
    def eos_ids(self) -> Ids:
        """Ids that end a completion: the tokenizer's own end token, then those of the model's generation settings."""
        listed = self.config.get("eos_token_id")
        found = [self._named_id("eos_token"), *(listed if isinstance(listed, list) else [listed])]
        return tuple(dict.fromkeys(i for i in found if i is not None))

    @cached_property
    def pad_id(self) -> int | None:
        """The padding token; `None` where the folder names none."""
        return self._named_id("pad_token")

    @cached_property
    def bos_id(self) -> int | None:
        """The beginning-of-sequence token; `None` where the folder names none."""
        return self._named_id("bos_token")

    @cached_property
    def backend(self) -> tokenizers.Tokenizer:
        """The `tokenizers` object, with the tokens that only the settings know added, as transformers adds them."""
        try:
            backend = tokenizers.Tokenizer.from_buffer(self.files["tokenizer.json"])
        except ValueError as e:
            raise UserError(f"{self.where}/tokenizer.json cannot be read ({e}); download it again") from e
        backend.no_truncation()
        backend.no_padding()
        here = {str(t) for t in backend.get_added_tokens_decoder().values()}
        listed = sorted(self.settings.get("added_tokens_decoder", {}).items(), key=lambda kv: int(kv[0]))
        missing = [AddedToken(**t) for _, t in listed if t["content"] not in here]
        named = [t for k in NAMED if (t := self._named(k)) is not None and t not in here]
        backend.add_tokens(missing)
        backend.add_tokens([AddedToken(t, special=True) for t in named if t not in {str(m) for m in missing}])
        return backend

    @cached_property
    def settings(self) -> dict[str, Any]:
        """`tokenizer_config.json`, completed by an old folder's `special_tokens_map.json`."""
        read = {
            n: _json(self.files[n], f"{self.where}/{n}") for n in ("tokenizer_config.json", "special_tokens_map.json") if n in self.files
        }
        settings = read.get("tokenizer_config.json", {})
        return settings if "added_tokens_decoder" in settings else settings | read.get("special_tokens_map.json", {})

    @cached_property
    def byte_ids(self) -> frozenset[int]:
        """Ids of `<0x00>` … `<0xFF>`, the single bytes of sentencepiece-like vocabularies; empty for byte-level ones."""
        found = (self.backend.token_to_id(f"<0x{b:02X}>") for b in range(256))
        return frozenset(i for i in found if i is not None)

    @cached_property
    def templates(self) -> dict[str, str]:
        """Chat templates by name. Files come before the settings; the one a plain chat uses is `default`."""
        inline = self.settings.get("chat_template")
        found = {f.split("/")[1].removesuffix(".jinja"): f for f in self.files if f.startswith("additional_chat_templates/")}
        if "chat_template.jinja" in self.files:
            found["default"] = "chat_template.jinja"
        if found:
            return {name: self.files[f].decode() for name, f in found.items()}
        if isinstance(inline, list):
            return {t["name"]: t["template"] for t in inline}
        return {"default": inline} if inline else {}

    @cached_property
    def _compiled(self) -> dict[str, jinja2.Template]:
        try:
            return {name: _ENVIRONMENT.from_string(template) for name, template in self.templates.items()}
        except jinja2.TemplateSyntaxError as e:
            raise UserError(f"the chat template of {self.where} is not valid Jinja, line {e.lineno}: {e.message}; mend the template") from e

    def _named(self, name: str) -> str | None:
        token = self.settings.get(name)
        return token["content"] if isinstance(token, dict) else token

    def _named_id(self, name: str) -> int | None:
        token = self._named(name)
        return None if token is None else self.backend.token_to_id(token)


class Detokenizer:
    """Text of a growing list of ids, piece by piece: `push` each id, `flush` at the end; the pieces joined are `decode` of all ids.

    A character whose bytes are not all there yet is held back. Used by one completion and thrown away.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True) -> None:
        self._decode = lambda ids: tokenizer.decode(ids, skip_special)
        self._bytes = tokenizer.byte_ids
        self._window: list[int] = []  # the last id that gave text (a decoder may look across the boundary), then what is held back
        self._given = 0  # characters of the window's text already handed out

    def push(self, id: int) -> str:
        """The text that is certain now and was not before: often one word, sometimes nothing."""
        self._window.append(id)
        alone, text = self._decode([id]), self._decode(self._window)
        if not alone or id in self._bytes or text.endswith("\ufffd"):
            return ""
        piece = text[self._given :]
        self._window, self._given = [id], len(alone)
        return piece

    def flush(self) -> str:
        """What is still held back, broken characters as U+FFFD. Nothing may be pushed afterwards."""
        return self._decode(self._window)[self._given :]


def _json(content: bytes, where: str) -> dict[str, Any]:
    try:
        return json.loads(content)
    except ValueError as e:
        raise UserError(f"{where} is not valid JSON ({e}); download it again") from e


class _Generation(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's words for trainers; here it is just its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as chat templates expect it: a template comes from strangers, so it runs in the sandbox."""

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(x: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False) -> str:
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    return environment


_ENVIRONMENT = _environment()
