"""The tokenizer: ids, chats and files equal transformers', and streamed text equals decoded text."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from reasonry.core import Message, UserError
from reasonry.lm.tokenizer import Detokenizer, Tokenizer

TEXTS = [
    "hello world, it's 2026 and we'll see 1234 things", 'say {"a": 1, "b": [true, null]} twice\n\n  indented', "中文字符 and 日本語",
    "naïve café — “quoted” … 😀 👩‍👩‍👧 done", "<tool_call>x</tool_call> #### 42\n",
] * 8  # fmt: skip

AWKWARD = [
    "", " ", "  ", "\n", "\n\n \n", " hello", "hello ", "  two  spaces  ", "12345 678", "x1y22z333", "it's we'LL", "中文 字符", "é",
    "e\u0301", "ﬁ", "😀", "👩‍👩‍👧", "\u200b", "\x00\x7f", "�", "<|im_start|>user\nhi<|im_end|>\n", "a<|im_end|>b", " <|im_end|> ",
    "<|im_end|><|im_end|>", "<|im_",
    "tab\tand\r\nreturn", "مرحبا", "ก็", "𝔘𝔫𝔦", "<s>a", "</s>", "a </s> b", "<unk>", "<0x41>", "▁under", "_" * 40, "1" * 30,
]  # fmt: skip

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@cache
def trained() -> Tokenizer:
    """One of ours."""
    return Tokenizer.train(TEXTS, 420, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], CHATML)


def write(folder: Path, backend: tokenizers.Tokenizer, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def qwen_like(folder: Path) -> Path:
    trained().save(folder)
    return folder


def llama3_like(folder: Path) -> Path:
    """Byte-level BPE in groups of up to three digits, with a post-processor that puts a first token."""
    backend = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    split = Regex(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(split, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    backend.add_special_tokens(["<|begin_of_text|>", "<|eot_id|>", "<|im_end|>"])
    start = "<|begin_of_text|>"
    backend.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single=f"{start} $A", special_tokens=[(start, backend.token_to_id(start) or 0)]),
        ]
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": start, "eos_token": "<|eot_id|>", "clean_up_tokenization_spaces": True,
    }  # fmt: skip
    return write(folder, backend, config)


def llama2_like(folder: Path) -> Path:
    """BPE over sentencepiece's spelling of spaces, single bytes as a last resort, the first space taken off when decoding."""
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    plain = ["hello world 2026 things say twice indented done hello"] * 8
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], show_progress=False
    )
    backend.train_from_iterator(plain, trainer)
    raw = json.loads(backend.to_str())
    raw["added_tokens"] = raw["added_tokens"][:3]  # the single bytes are plain vocabulary
    backend = tokenizers.Tokenizer.from_str(json.dumps(raw))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return write(folder, backend, config)


KINDS = {"qwen": qwen_like, "llama3": llama3_like, "llama2": llama2_like}


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return KINDS[request.param](tmp_path_factory.mktemp("tokenizers") / request.param)


def test_ids_equal_transformers(folder: Path) -> None:
    """The same folder gives the same ids, with and without what the post-processor adds, and the same text back."""
    from transformers import AutoTokenizer

    ours, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    for text in AWKWARD + TEXTS:
        ids = ours.encode(text)
        assert list(ids) == theirs(text, add_special_tokens=False).input_ids, repr(text)
        assert list(ours.encode(text, special=True)) == theirs(text).input_ids, repr(text)
        for skip in (True, False):
            assert ours.decode(ids, skip) == theirs.decode(list(ids), skip_special_tokens=skip)
    assert (ours.bos_id, ours.pad_id, ours.vocab_size) == (theirs.bos_token_id, theirs.pad_token_id, len(theirs))
    assert ours.eos_ids == (theirs.eos_token_id,)


def test_a_trained_tokenizer_loads_beside_each_model_family(tmp_path: Path) -> None:
    """transformers picks its tokenizer class from the model's config too; ids stay the same under each."""
    from transformers import AutoTokenizer

    for kind in ("qwen2", "qwen3", "llama"):
        qwen_like(tmp_path / kind)
        (tmp_path / kind / "config.json").write_text(json.dumps({"model_type": kind}))
        theirs = AutoTokenizer.from_pretrained(tmp_path / kind)
        for text in AWKWARD:
            assert list(trained().encode(text)) == theirs(text, add_special_tokens=False).input_ids, (kind, text)


def test_text_comes_back_whole() -> None:
    """Nothing is unknown to a tokenizer trained here: every text (in NFC) survives encode and decode, every digit is one token."""
    for text in AWKWARD:
        if "e\u0301" not in text:
            assert trained().decode(trained().encode(text), skip_special=False) == text
    assert len(trained().encode("9876543210")) == 10
    assert trained().encode("<|endoftext|><|im_start|><|im_end|>") == (0, 1, 2)


def test_files_are_written_back_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    """load then save changes nothing, in any file."""
    (folder / "additional_chat_templates").mkdir(exist_ok=True)
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools\n")
    Tokenizer.load(folder).save(tmp_path / "copy")
    before = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    after = {p.relative_to(tmp_path / "copy"): p.read_bytes() for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    assert before == after


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans())
def test_streamed_text_is_decoded_text(data: st.DataObject, skip: bool) -> None:
    """Whatever the ids (broken characters, special tokens, stray bytes), the pieces joined are what decode gives for all of them."""
    for tokenizer in streaming():
        ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
        stream = Detokenizer(tokenizer, skip)
        assert "".join([*map(stream.push, ids), stream.flush()]) == tokenizer.decode(ids, skip)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.booleans())
def test_streamed_words_are_decoded_words(text: str, skip: bool) -> None:
    """The same for the ids of real text, and no piece ends in half a character."""
    for tokenizer in streaming():
        ids = tokenizer.encode(text)
        stream = Detokenizer(tokenizer, skip)
        pieces = [*map(stream.push, ids)]
        assert "".join([*pieces, stream.flush()]) == tokenizer.decode(ids, skip)
        assert not any(p.endswith("�") for p in pieces)


@cache
def streaming() -> tuple[Tokenizer, ...]:
    """One tokenizer of each kind of decoder."""
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        return tuple(Tokenizer.load(make(Path(home) / name)) for name, make in KINDS.items())


def test_streaming_is_prompt() -> None:
    """A plain word is handed out as soon as its token is there; an emoji when its last byte is."""
    ids = trained().encode("hello😀")
    stream = Detokenizer(trained())
    pieces = [stream.push(i) for i in ids]
    assert pieces[0] == "hello"
    assert pieces[-1] == "😀"
    assert stream.flush() == ""


CHAT_TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=-1, thinking=true) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.last < 0 and message.role == "user" and message.content is string %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" and '</think>' in message.content and loop.index0 < ns.last %}
        {{- '<|im_start|>assistant\\n' + message.content.split('</think>')[-1].lstrip('\\n') + '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- elif not (message.role == "system" and loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' }}{{ message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- '<tool_call>' }}{{ call.function.arguments | tojson(indent=2) }}{{ '</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>' }}
    {% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""

LLAMA3_STYLE = """{{- bos_token or '' }}
{%- set date_string = strftime_now("%d %b %Y") if strftime_now is defined else "26 Jul 2024" %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "\\n\\n" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + eos_token }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

LOOPS = """{% for m in messages %}
{% if m.role == 'system' %}{% continue %}{% endif %}
{% if loop.index > 3 %}{% break %}{% endif %}
{% generation %}[{{ m.role|upper }}] {{ m.content }}{% endgeneration %}

{% endfor %}
{{ {'z': 'ü<>&', 'a': [1, none, true]} | tojson(sort_keys=true) }}
{{ messages | map(attribute='role') | join(',') }}
"""

CHATS = [
    [{"role": "user", "content": "hi  "}],
    [{"role": "system", "content": "Be <brief> & 'kind'."}, {"role": "user", "content": "1+1?"}],
    [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>hm</think>\n\nb"}, {"role": "user", "content": "c ü 中"},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": "é<"}}}]},
        {"role": "tool", "content": "42", "name": None},
    ],
]  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "calculator", "description": "Ünïts & <signs>", "parameters": {"type": "object"}}}]


@pytest.mark.parametrize("template", [CHATML, CHAT_TOOLS, LLAMA3_STYLE, LOOPS], ids=["chatml", "tools", "llama3", "loops"])
def test_rendered_chats_equal_transformers(template: str, tmp_path: Path) -> None:
    """Templates as checkpoints have them (tools, namespaces, loop controls, dates, generation tags) render to the same text."""
    from transformers import AutoTokenizer

    llama3_like(tmp_path / "t")
    (tmp_path / "t" / "chat_template.jinja").write_text(template)
    ours, theirs = Tokenizer.load(tmp_path / "t"), AutoTokenizer.from_pretrained(tmp_path / "t")
    for chat in CHATS:
        for more in ({}, {"tools": TOOLS}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "enable_thinking": False}):
            ask = {"add_generation_prompt": False, **more}
            assert ours.render(chat, **ask) == theirs.apply_chat_template(chat, tokenize=False, **ask)


def test_named_templates_inline_equal_transformers(tmp_path: Path) -> None:
    """A list of named templates in the settings: `tool_use` when there are tools, `default` otherwise, as transformers chooses."""
    from transformers import AutoTokenizer

    folder = llama3_like(tmp_path / "t")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    named = [{"name": "default", "template": CHATML}, {"name": "tool_use", "template": CHAT_TOOLS}]
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": named}))
    ours, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    for tools in (None, TOOLS):
        expected = theirs.apply_chat_template(CHATS[1], tools=tools, tokenize=False, add_generation_prompt=True)
        assert ours.render(CHATS[1], tools=tools) == expected


def test_messages_render_like_dictionaries() -> None:
    """Our own `Message` and the endpoint's dictionaries are the same chat."""
    chat = [Message("user", "hi"), Message("assistant", "ho")]
    assert trained().render(chat) == trained().render([{"role": m.role, "content": m.content} for m in chat])
    assert trained().render(chat, add_generation_prompt=False) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho<|im_end|>\n"


def test_a_template_runs_in_a_sandbox() -> None:
    """A template from a stranger cannot reach Python through what it is given."""
    escape = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(UserError, match="refuses these messages"):
        Tokenizer({**trained().files, "chat_template.jinja": escape.encode()}).render([Message("user", "x")])


def test_what_is_wrong_with_a_template_is_said(tmp_path: Path) -> None:
    """No template, one that is not Jinja, one that refuses the roles: each its own sentence."""
    bare = {n: b for n, b in trained().files.items() if n != "chat_template.jinja"}
    with pytest.raises(UserError, match="no chat template"):
        Tokenizer(bare).render([Message("user", "x")])
    with pytest.raises(UserError, match="not valid Jinja, line 2"):
        Tokenizer({**bare, "chat_template.jinja": b"fine\n{% if %}"}).render([Message("user", "x")])
    with pytest.raises(UserError, match="only users may speak"):
        Tokenizer({**bare, "chat_template.jinja": b"{{ raise_exception('only users may speak') }}"}).render([Message("user", "x")])
    with pytest.raises(UserError, match=r"holds no tokenizer\.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read"):
        Tokenizer.load(tmp_path)


def test_end_tokens_come_from_the_tokenizer_and_the_generation_settings(folder: Path, tmp_path: Path) -> None:
    """A completion ends at the tokenizer's end token and at any the model's generation settings list."""
    Tokenizer.load(folder).save(tmp_path)
    own = Tokenizer.load(folder).eos_ids
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": 7}))
    assert Tokenizer.load(tmp_path).eos_ids == (*own, 7)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [9, own[0], 11]}))
    assert Tokenizer.load(tmp_path).eos_ids == (*own, 9, 11)


def test_tokens_only_the_settings_know_are_added(tmp_path: Path) -> None:
    """Old folders list added tokens in tokenizer_config.json alone; transformers adds them, so do we."""
    from transformers import AutoTokenizer

    folder = llama3_like(tmp_path / "t")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    size = Tokenizer.load(folder).vocab_size
    fields = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    config["added_tokens_decoder"] = {str(size): {"content": "<|call|>", **fields}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": "<|pad|>"}))
    ours, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    text = "a <|call|> b<|pad|>"
    assert list(ours.encode(text)) == theirs(text, add_special_tokens=False).input_ids
    assert ours.pad_id == theirs.pad_token_id == ours.id_of("<|pad|>")


def test_training_refuses_what_it_cannot_do() -> None:
    """An end token that is not special, a vocabulary below the alphabet, an unknown token's id: each says the mend."""
    with pytest.raises(UserError, match=r"eos is '<e>'.*add it there"):
        Tokenizer.train(TEXTS, 400, ["<|endoftext|>"], CHATML, eos="<e>")
    with pytest.raises(UserError, match="vocab_size is 100 but must be at least 258"):
        Tokenizer.train(TEXTS, 100, ["<|endoftext|>", "<|im_end|>"], CHATML)
    with pytest.raises(UserError, match="token 'nope' is not in the vocabulary"):
        trained().id_of("nope")


def test_training_is_repeatable() -> None:
    """The same texts give the same files."""
    again = Tokenizer.train(TEXTS, 420, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], CHATML)
    assert again.files == trained().files
    assert AddedToken("<|im_end|>", special=True, normalized=False) in again.backend.get_added_tokens_decoder().values()
