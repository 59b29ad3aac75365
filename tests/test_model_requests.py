"""What models are sent: messages, media and tools, as functions and over real HTTP."""

from __future__ import annotations

import base64
import io
import re
import wave
from typing import ClassVar

import numpy as np
import pytest
from model_server import ModelServer, Refused, Status, Text
from PIL import Image

import smol_kernel
from smol_kernel.errors import ContextLengthError, MissingDependencyError, ModelError
from smol_kernel.events import Notice
from smol_kernel.memory.messages import ChatMessage, MessageRole
from smol_kernel.memory.rich_values import AgentAudio
from smol_kernel.models.call import ModelCall
from smol_kernel.models.fallback import FallbackModel
from smol_kernel.models.litellm import LiteLLMModel
from smol_kernel.models.media import audio_bytes, image_url, sendable, video_frames
from smol_kernel.models.quirks import quirk_of
from smol_kernel.models.requests import REMOVE_PARAMETER, get_clean_message_list, get_tool_json_schema
from smol_kernel.tools import Tool, tool

USER = MessageRole.USER
SOUND = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
PICTURE = Image.new("RGB", (3, 2), "red")


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch):
    monkeypatch.setenv("SMOL_ALLOW_MODEL_REQUESTS", "0")


def text(words):
    return {"type": "text", "text": words}


def sent(content, model_id="openai/double", **options):
    """The content of the one message that arrives, and the notices on the way."""
    with ModelServer(Text("x")) as server:
        call = ModelCall(LiteLLMModel(model_id, api_base=server.url, **options), [ChatMessage(USER, content)])
        notices = [event.text for event in call if isinstance(event, Notice)]
    return server.requests[0].body["messages"][0]["content"], notices


# Messages


@pytest.mark.parametrize(
    ("contents", "flatten", "expected"),
    [
        (["a"], False, "a"),
        ([[text("a")]], False, [text("a")]),
        (["a", "b"], False, "a\nb"),
        (["a", [text("b")]], False, [text("a\nb")]),
        ([[text("a"), text("c")], [text("b")]], False, [text("a\nc\nb")]),
        ([[text("a"), text("c")], [text("b")]], True, "a\nc\nb"),
        ([[text("a")], None], False, [text("a")]),
        ([None], True, None),
        (
            [[text("a"), SOUND]],
            True,
            "a\n[input_audio left out: messages go as text]",
        ),
        (
            [[text("a"), SOUND]],
            None,
            [text("a"), SOUND],
        ),
        ([[{**text("a"), "cache_control": {}}, text("b")]], False, [{**text("a"), "cache_control": {}}, text("b")]),
    ],
)
def test_neighbors_merge_and_their_texts_stand_on_lines(contents, flatten, expected):
    messages = [{"role": "user", "content": content} for content in contents]
    assert get_clean_message_list(messages, flatten_messages_as_text=flatten) == [{"role": "user", "content": expected}]


def test_images_are_base64_or_urls():
    messages = [ChatMessage(USER, [{"type": "image", "image": PICTURE}])]
    [plain] = get_clean_message_list(messages)[0]["content"]
    [url] = get_clean_message_list(messages, convert_images_to_image_urls=True)[0]["content"]
    assert Image.open(io.BytesIO(base64.b64decode(plain["image"]))).size == (3, 2)
    assert url["image_url"]["url"] == f"data:image/png;base64,{plain['image']}"


# Media


@pytest.mark.parametrize("form", ["PIL", "bytes", "path", "str"])
def test_an_image_may_come_in_many_forms(form, tmp_path):
    path = tmp_path / "x.jpg"
    PICTURE.save(path)
    image = {"PIL": PICTURE, "bytes": path.read_bytes(), "path": path, "str": str(path)}[form]
    parts, notices = sent([text("see"), {"type": "image", "image": image}])
    header, _, data = parts[1]["image_url"]["url"].partition(",")
    assert header == f"data:image/{'png' if form == 'PIL' else 'jpeg'};base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (3, 2)
    assert notices == []


@pytest.mark.parametrize("form", ["TIFF", "BMP", "ICO"])
def test_an_image_of_a_format_that_models_do_not_take_is_sent_as_png(form):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, form)
    header, _, data = image_url(buffer.getvalue()).partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (header, image.format, image.size) == ("data:image/png;base64", "PNG", (16, 16))


def test_a_drawing_is_known_also_by_its_head():
    kind = (
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd" [\n<!ENTITY ns "http://www.w3.org/2000/svg">\n]>'
    )
    for head in (
        b'<?xml version="1.0"?>\n',
        b"\xef\xbb\xbf\n<!-- drawn -->",
        kind,
        b"<!doctype svg>\n",
        b"<!-- a -->\n" * 800,
    ):
        assert image_url(head + b"<svg></svg>").startswith("data:image/svg+xml;")


def test_what_is_no_image_is_not_sent_as_one():
    with pytest.raises(ModelError, match="Send PNG, JPEG"):
        image_url(b"<!DOCTYPE html><html><body><svg></svg></body></html>")
    with pytest.raises(ModelError, match="Send PNG, JPEG"):
        image_url(b"<!doctype html><html><body><svg></svg></body></html>")
    with pytest.raises(ModelError, match="Send PNG, JPEG"):
        image_url(b"<!-- a -->\n" * 800 + b"<kml/>")
    with pytest.raises(ModelError, match=r"begins with b'nonsense'.*Send PNG, JPEG"):
        image_url(b"nonsense")


@pytest.mark.parametrize("mode", ["CMYK", "HSV", "YCbCr"])
def test_an_image_of_a_mode_that_png_has_not_is_sent_in_rgb(mode):
    data = base64.b64decode(image_url(Image.new(mode, (3, 2))).partition(",")[2])
    assert (Image.open(io.BytesIO(data)).mode, Image.open(io.BytesIO(data)).size) == ("RGB", (3, 2))


def test_a_web_address_is_an_image_as_it_is():
    assert image_url("https://example.com/a.png") == "https://example.com/a.png"


def test_what_is_no_image_is_named():
    empty = (Image.new("RGB", (0, 2)), "cannot write empty image")
    for wrong, match in ((5, "cannot send 5 as an image"), ("/no/such.png", "cannot read '/no/such.png'"), empty):
        with pytest.raises(ModelError, match=match):
            image_url(wrong)


def test_audio_beyond_16_bits_is_cut_as_in_a_file_of_it():
    loud = np.array([40_000, -40_000], "int32")
    with (
        wave.open(io.BytesIO(audio_bytes((8_000, loud)))) as file,
        wave.open(AgentAudio((8_000, loud)).to_string()) as of,
    ):
        assert np.frombuffer(file.readframes(2), "<i2").tolist() == [32_767, -32_768]
        assert of.readframes(2) == np.array([32_767, -32_768], "<i2").tobytes()
    with wave.open(io.BytesIO(audio_bytes((8_000, np.array([1, -2, np.nan], "float16"))))) as file:
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [32_767, -32_767, 0]


def test_audio_of_a_tensor_has_its_channels_first():
    with wave.open(io.BytesIO(audio_bytes((8_000, np.zeros((2, 100), "float32"))))) as file:
        assert (file.getnchannels(), file.getnframes()) == (2, 100)


@pytest.mark.parametrize(
    ("rate", "samples", "what"),
    [
        (0, np.zeros(3), "with 0 samples a second is no audio: "),
        ("fast", np.zeros(3), "with 'fast' samples a second is no audio: "),
        (8_000, np.array(["a"]), "an array of <U1 with shape"),
        (8_000, np.zeros((2, 2, 2)), "with shape .2, 2, 2. is no audio; give numbers"),
    ],
)
def test_what_is_no_audio_is_refused(rate, samples, what):
    with pytest.raises(ModelError, match=f"cannot send this audio: .*{what}"):
        audio_bytes((rate, samples))


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("shape", [(160,), (160, 2)])
def test_audio_of_an_array_becomes_wav(dtype, shape):
    samples = np.full(shape, 0.5, dtype) if dtype == "float32" else np.full(shape, 16383, dtype)
    [part], _ = sent([{"type": "audio", "audio": (16_000, samples)}])
    assert part["input_audio"]["format"] == "wav"
    with wave.open(io.BytesIO(base64.b64decode(part["input_audio"]["data"]))) as file:
        assert (file.getframerate(), file.getnframes(), file.getsampwidth()) == (16_000, 160, 2)
        frames = np.frombuffer(file.readframes(160), "<i2").reshape(shape)
    assert (frames == 16383).all()


def test_audio_of_a_file_keeps_its_format(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"ID3 and so on")
    (tmp_path / "b.m4a").write_bytes(b"????ftyp")
    content = [{"type": "audio", "audio": tmp_path / name} for name in ("a.mp3", "b.m4a")]
    parts, _ = sendable(content, lambda kind: None, "m")
    assert [part["input_audio"]["format"] for part in parts] == ["mp3", "m4a"]
    with pytest.raises(ModelError, match="cannot tell the format of audio that begins with b'xyz'"):
        sendable([{"type": "audio", "audio": b"xyz"}], lambda kind: None, "m")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film of two seconds: one red, one blue."""
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 1600, 32, "yuv420p"
        for number in range(20):
            image = Image.new("RGB", (1600, 32), "red" if number < 10 else "blue")
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return path


def test_a_video_is_shown_as_frames(film):
    parts, notices = sent([text("look"), {"type": "video", "video": film}])
    pictures = [part for part in parts if part["type"] == "image_url"]
    assert [part["text"].splitlines()[-1] for part in parts if part["type"] == "text"][:2] == [
        "[video, frame at 0.0 s]",
        "[video, frame at 0.3 s]",
    ]
    frames = [Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2]))) for part in pictures]
    colors = ["red" if frame.getpixel((5, 5))[0] > 128 else "blue" for frame in frames]
    assert colors == ["red"] * 4 + ["blue"] * 4
    assert frames[0].size == (768, 15) and notices == []


def test_a_video_goes_whole_to_a_model_that_takes_videos(film):
    parts, left_out = sendable([{"type": "video", "video": film}], lambda kind: True, "m")
    data = base64.b64encode(film.read_bytes()).decode()
    assert parts == [{"type": "file", "file": {"file_data": f"data:video/mp4;base64,{data}"}}] and left_out == []


def test_a_video_that_cannot_be_read_and_a_missing_package(monkeypatch):
    pytest.importorskip("av")
    with pytest.raises(ModelError, match="cannot read a video"):
        video_frames(b"no video")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'smol-kernel\[media\]'"):
        video_frames(b"no video")


def test_what_a_model_cannot_take_is_named_in_its_place_and_told_once():
    content = [text("see"), {"type": "image", "image": PICTURE}, {"type": "video", "video": b"?"}]
    with ModelServer(Text("x"), Text("y")) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, capabilities={"image": False})
        told = []
        for _ in range(2):
            told += [event.text for event in ModelCall(model, [ChatMessage(USER, content)])]
    assert told == [
        "Model 'openai/double' takes no images: left out of what it reads.",
        "Model 'openai/double' takes no video: left out of what it reads.",
    ]
    assert server.requests[1].body["messages"][0]["content"] == (
        "see\n[image left out: openai/double takes none]\n[video left out: openai/double takes none]"
    )


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "refusal",
    [
        Status(400, "unknown variant `image_url`, expected `text`"),
        Refused(422, {"detail": "At most 0 image_url parts may be provided in one request."}),
        Status(500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"),
        Status(404, "No endpoints found that support image input"),
        Refused(500, {"error": "Failed to create new sequence: this model is missing data required for image input"}),
    ],
    ids=["DeepSeek", "vLLM", "llama.cpp", "OpenRouter", "Ollama"],
)
def test_a_model_of_which_nobody_knows_is_asked_without_images_once_it_has_refused_one(refusal, stream):
    content = [text("see"), {"type": "image", "image": PICTURE}]
    with ModelServer(refusal, Text("x"), Text("y")) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, retry_wait=0)
        told, said = [], []
        for _ in range(2):
            call = ModelCall(model, [ChatMessage(USER, content)], stream=stream)
            told += [each.text for each in call if isinstance(each, Notice)]
            said.append(call.message.content)
    assert said == ["x", "y"] and told == ["Model 'openai/double' takes no images: left out of what it reads."]
    sent = [request.body["messages"][0]["content"] for request in server.requests]
    assert [type(each) for each in sent] == [list, str, str]
    assert sent[1] == sent[2] == "see\n[image left out: openai/double takes none]"
    assert model.takes("image") is False and "capabilities" not in model.to_dict()


def test_a_refusal_that_does_not_say_why_is_for_the_images_once_it_came_twice():
    content = [text("see"), {"type": "image", "image": PICTURE}]
    why = Status(400, "this picture is larger than 5 MB")
    with ModelServer(why, Text("a"), Text("b"), why, Text("c"), why, Text("d"), Text("e")) as server:
        model = LiteLLMModel("openai/double", api_base=server.url)
        told = []
        for _ in range(5):
            told.append([each.text for each in ModelCall(model, [ChatMessage(USER, content)])])
    once = "Model 'openai/double' refused a request with images: asked again without."
    assert told == [[once], [], [once], ["Model 'openai/double' takes no images: left out of what it reads."], []]
    assert [type(request.body["messages"][0]["content"]) for request in server.requests] == [
        *(list, str, list),
        *(list, str, list, str, str),
    ]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_of_several_models_the_next_is_asked_with_the_images_that_one_refuses(stream):
    content = [text("see"), {"type": "image", "image": PICTURE}]
    with ModelServer(Status(400, "unknown variant `image_url`")) as blind, ModelServer(Text("a picture")) as seeing:
        models = [LiteLLMModel("openai/double", api_base=server.url) for server in (blind, seeing)]
        call = ModelCall(FallbackModel(models), [ChatMessage(USER, content)], stream=stream)
        list(call)
    assert call.message.content == "a picture"
    assert [len(server.requests) for server in (blind, seeing)] == [1, 1]
    assert isinstance(seeing.requests[0].body["messages"][0]["content"], list)


def test_the_last_of_several_models_is_asked_without_the_images_that_it_refuses():
    content = [text("see"), {"type": "image", "image": PICTURE}]
    refusal = Status(400, "unknown variant `image_url`")
    with ModelServer(refusal) as first, ModelServer(refusal, Text("words")) as last:
        models = [LiteLLMModel("openai/double", api_base=server.url) for server in (first, last)]
        reply = FallbackModel(models).generate([ChatMessage(USER, content)])
    assert reply.content == "words" and len(first.requests) == 1


@pytest.mark.parametrize(
    "why", ["The model llama-3.2-vision is not available right now", "no upstream for llava-vision"]
)
def test_trouble_that_passes_is_none_of_images_because_of_a_name(why):
    with ModelServer(Status(503, why), Text("x")) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, retry_wait=0)
        assert model.generate([ChatMessage(USER, "hi")]).content == "x"
    assert len(server.requests) == 2


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    ("answers", "options", "kind"),
    [
        ([Status(400, "no such option"), Status(400, "no such option, again")], {}, "image"),
        ([Status(400, "the picture is broken")], {"capabilities": {"image": True}}, "image"),
        ([Status(402, "who pays?")], {}, "image"),
        ([Status(500, "out of order")] * 4, {}, "image"),
        ([Status(400, "no such option")], {}, "text"),
    ],
    ids=["refused without as well", "known to take them", "another status", "passing trouble", "no image"],
)
def test_what_is_not_refused_for_its_images_is_told_as_it_is(answers, options, kind, stream):
    content = [text("see"), {"type": kind, kind: PICTURE if kind == "image" else "this"}]
    with ModelServer(*answers) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, retry_wait=0, **options)
        call = ModelCall(model, [ChatMessage(USER, content)], stream=stream)
        with pytest.raises(ModelError, match=re.escape(answers[0].message) + r" \("):
            list(call)
    assert len(server.requests) == len(answers) and model.takes("image") is not False


def test_a_conversation_that_is_too_long_is_not_taken_for_one_with_refused_images():
    with ModelServer(Status(400, "too long", "context_length_exceeded")) as server:
        model = LiteLLMModel("openai/double", api_base=server.url)
        with pytest.raises(ContextLengthError):
            model.generate([ChatMessage(USER, [{"type": "image", "image": PICTURE}])])
    assert len(server.requests) == 1


# What models take


@pytest.mark.parametrize(
    ("model_id", "known"),
    [
        ("openai/gpt-4o", {"image": True, "audio": False, "tools": True, "response_schema": True}),
        ("openai/gpt-3.5-turbo", {"image": False, "tools": True}),
        ("gemini/gemini-2.5-pro", {"image": True, "audio": True, "video": True}),
        ("openai/double", {"image": None, "audio": None, "video": None, "tools": None, "response_schema": None}),
        ("openai/qwen2.5-vl-7b", {"image": True}),
        ("ollama/llama3", {"image": None, "tools": False}),
        ("ollama_chat/llama3", {"tools": None}),
        ("nonsense/x", {"image": None, "tools": None}),
    ],
)
def test_what_models_take_is_known_unknown_or_denied(model_id, known):
    model = LiteLLMModel(model_id)
    assert {kind: model.takes(kind) for kind in known} == known


def test_models_without_a_system_role_are_spoken_to_as_the_user():
    messages = [ChatMessage(MessageRole.SYSTEM, "Be brief."), ChatMessage(USER, "Hi.")]
    with ModelServer(Text("x")) as server:
        LiteLLMModel("openai/gemma-2-9b-it", api_base=server.url).generate(messages)
    assert server.requests[0].body["messages"] == [{"role": "user", "content": "Be brief.\nHi."}]
    names = ("gemma:2b", "google/gemma-7b", "gemma2:9b", "gemma3:4b", "gemma-3n-e4b", "my-gemma")
    assert [quirk_of(name).system for name in names] == [False, False, False, None, None, None]


# Tools


@tool
def weather(city: str, days: int = 1, units: dict[str, list[int]] | None = None) -> str:
    """Tells the weather.

    Args:
        city: Where.
        days: How many.
        units: Of what.
    """
    return city


@pytest.mark.parametrize(
    ("model_id", "options", "choice"),
    [
        ("openai/double", {}, "required"),
        ("openai/double", {"tool_choice": "auto"}, "auto"),
        ("openai/double", {"tool_choice": REMOVE_PARAMETER}, None),
        ("openai/deepseek-r1", {}, None),
        ("openai/kimi-k2", {}, None),
        ("openai/claude-x", {"reasoning_effort": "low", "allowed_openai_params": ["reasoning_effort"]}, None),
    ],
)
def test_a_call_is_demanded_where_it_can_be(model_id, options, choice):
    with ModelServer(Text("x"), Text("x")) as server:
        model = LiteLLMModel(model_id, api_base=server.url, **options)
        model.generate([ChatMessage(USER, "Hi")], tools_to_call_from=[weather])
        plain = LiteLLMModel(model_id, api_base=server.url)
        plain.generate([ChatMessage(USER, "Hi")], tools_to_call_from=[weather], **options)  # of one request
    body = server.requests[0].body
    assert server.requests[1].body.get("tool_choice") == choice
    assert (body.get("tool_choice"), [entry["function"]["name"] for entry in body["tools"]]) == (choice, ["weather"])


def test_without_tools_nothing_is_said_of_calls():
    with ModelServer(Text("x"), Text("x")) as server:
        model = LiteLLMModel("openai/double", api_base=server.url, parallel_tool_calls=False, tool_choice="auto")
        for tools in (None, [weather]):
            model.generate([ChatMessage(USER, "Hi")], tools_to_call_from=tools)
    said = [{"parallel_tool_calls", "tool_choice"} & request.body.keys() for request in server.requests]
    assert said == [set(), {"parallel_tool_calls", "tool_choice"}]


def test_a_reply_schema_travels():
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}}
    with ModelServer(Text("{}")) as server:
        LiteLLMModel("openai/double", api_base=server.url).generate([ChatMessage(USER, "Hi")], response_format=schema)
    assert server.requests[0].body["response_format"] == schema


def test_a_list_says_what_is_in_it_if_only_that_it_may_be_anything():
    @tool
    def total(numbers: list, pairs: list[list], either: list | int, pair: tuple) -> int:
        """Sums.

        Args:
            numbers: a
            pairs: b
            either: c
            pair: d
        """
        return 0

    properties = get_tool_json_schema(total)["function"]["parameters"]["properties"]
    assert [properties[name]["items"] for name in ("numbers", "either", "pair")] == [{}, {}, {}]
    assert properties["pairs"]["items"] == {"type": "array", "items": {}}


def test_the_schema_of_a_tool_is_plain_json_schema_at_any_depth():
    class Draw(Tool):
        name, description, output_type = "draw", "Draws.", "any"
        inputs: ClassVar = {
            "what": {"type": "any", "description": "a"},
            "image": {"type": "image", "description": "b"},
            "either": {"type": ["string", "audio", "null"], "description": "c"},
            "shapes": {
                "type": "array",
                "description": "d",
                "items": {"type": "object", "properties": {"fill": {"type": "image"}, "x": {"type": "any"}}},
            },
            "size": {"type": "integer", "description": "e", "nullable": True, "default": 3},
            "kind": {"anyOf": [{"type": "audio"}, {"$ref": "#/$defs/Kind"}], "type": "any", "description": "f",
                     "nullable": True},
        }  # fmt: skip

        def forward(self, what, image, either, shapes, size=3, kind=None):
            return what

    parameters = get_tool_json_schema(Draw())["function"]["parameters"]
    assert parameters["required"] == ["what", "image", "either", "shapes"]
    assert parameters["properties"] == {
        "what": {"description": "a"},
        "image": {"type": "string", "description": "b"},
        "either": {"type": ["string", "null"], "description": "c"},
        "shapes": {
            "type": "array",
            "description": "d",
            "items": {"type": "object", "properties": {"fill": {"type": "string"}, "x": {}}},
        },
        "size": {"type": "integer", "description": "e", "nullable": True, "default": 3},
        "kind": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Kind"}], "description": "f", "nullable": True},
    }


def test_a_model_of_a_users_own_converts_roles_as_in_smolagents():
    messages = [ChatMessage(MessageRole.TOOL_CALL, "a"), ChatMessage(MessageRole.TOOL_RESPONSE, "b")]
    cleaned = get_clean_message_list(messages, role_conversions=smol_kernel.tool_role_conversions)
    assert [message["role"] for message in cleaned] == ["assistant", "user"]
