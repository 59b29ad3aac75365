"""AgentText, AgentImage, AgentAudio: values with a form to show and one to work with."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
import wave
from pathlib import Path

import pytest

import smol_kernel
from smol_kernel.errors import MissingDependencyError, ToolTypeError
from smol_kernel.memory import rich_values
from smol_kernel.memory.rich_values import (
    AgentAudio,
    AgentImage,
    AgentText,
    AgentType,
    handle_agent_input_types,
    handle_agent_output_types,
)

numpy = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def red():
    return Image.new("RGB", (3, 2), "red")


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_text_is_a_str():
    text = AgentText("hello")
    assert isinstance(text, str) and isinstance(text, AgentType)
    assert (text, text + "!", text.to_raw(), text.to_string(), str(text)) == ("hello", "hello!", *["hello"] * 3)
    assert type(text.to_raw()) is str
    assert (AgentText(5), AgentText(5).to_raw(), AgentText(5).to_string()) == ("5", 5, "5")


def test_an_image_is_a_pil_image(red):
    image = AgentImage(red)
    assert isinstance(image, Image.Image) and isinstance(image, AgentImage)
    assert (image.size, image.mode, image.getpixel((0, 0))) == ((3, 2), "RGB", (255, 0, 0))
    assert image.to_raw() is red
    assert image.resize((1, 1)).size == (1, 1) and copy.copy(image).size == (3, 2)
    assert AgentImage(image).to_raw() is red
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        image.colour  # noqa: B018


def test_an_image_of_a_path_is_read_when_it_is_looked_at(red, tmp_path):
    path = tmp_path / "red.png"
    image = AgentImage(path)
    assert image.to_string() == str(image) == str(path)
    red.save(path)
    assert image.size == (3, 2) and image.to_raw().getpixel((2, 1)) == (255, 0, 0)


def test_an_image_of_bytes_gets_a_file(red):
    path = AgentImage(png(red)).to_string()
    with Image.open(path) as found:
        assert found.size == (3, 2)


@pytest.mark.parametrize(
    ("array", "pixel"),
    [
        (numpy.full((2, 3, 3), 200, "uint8"), (200, 200, 200)),
        (numpy.full((2, 3, 3), 0.5), (128, 128, 128)),
        (numpy.full((2, 3), 300), 255),
        (numpy.ones((2, 3, 1), bool), 255),
    ],
)
def test_an_image_of_an_array(array, pixel):
    image = AgentImage(array)
    assert (image.size, image.getpixel((0, 0))) == ((3, 2), pixel)


class Tensor:
    """As those of torch: channels first, and detached before numpy reads it."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def __array__(self, *args, **kwargs):
        return self.array

    def detach(self):
        return self

    cpu = detach


def test_an_image_of_a_tensor():
    assert AgentImage(Tensor(numpy.zeros((3, 2, 5), "float32"))).size == (5, 2)


def test_an_image_is_saved_as_png_unless_told(red, tmp_path):
    file = io.BytesIO()
    AgentImage(red).save(file)
    AgentImage(red).save(tmp_path / "red.bmp")
    assert file.getvalue().startswith(b"\x89PNG") and (tmp_path / "red.bmp").read_bytes().startswith(b"BM")


def test_a_class_derived_from_an_image_works(red):
    class Photo(AgentImage):
        pass

    photo = Photo(red)
    assert isinstance(photo, Photo) and isinstance(photo, Image.Image) and photo.size == (3, 2)
    assert not isinstance(AgentImage(red), Photo)


def test_audio_of_samples_gets_a_wav_file():
    audio = AgentAudio((8000, numpy.array([0.0, 0.5, -1.0])))
    assert isinstance(audio, str) and audio.samplerate == 8000
    with wave.open(audio.to_string(), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (8000, 1, 3)
    back = AgentAudio(audio.to_string())
    assert numpy.allclose(back.to_raw(), [0, 0.5, -1], atol=1e-4) and back.samplerate == 8000
    assert back == back.to_string()


def test_audio_of_two_channels_keeps_them():
    path = AgentAudio(Tensor(numpy.array([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]]))).to_string()
    samples = AgentAudio(path).to_raw()
    assert samples.shape == (3, 2) and numpy.allclose(samples[0], [0, 0.3], atol=1e-4)
    assert AgentAudio([1, 2, 3]).samplerate == 16_000


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_files_of_any_width_are_read(width, tmp_path):
    path = str(tmp_path / "a.wav")
    half = {1: b"\xc0", 2: b"\x00\x40", 3: b"\x00\x00\x40", 4: b"\x00\x00\x00\x40"}[width]
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(100)
        file.writeframes(half * 2)
    samples, rate = rich_values._read_wav(path)
    assert (samples.tolist(), rate) == ([0.5, 0.5], 100)


def test_a_file_that_is_no_wav_names_the_package(tmp_path):
    (tmp_path / "a.ogg").write_bytes(b"OggS, and more")
    with pytest.raises(MissingDependencyError, match="pip install soundfile"):
        rich_values._read_wav(str(tmp_path / "a.ogg"))


@pytest.mark.parametrize("kind", [AgentImage, AgentAudio])
def test_other_values_are_refused(kind):
    with pytest.raises(TypeError, match=rf"{kind.__name__} takes .* not 3"):
        kind(3)


def test_outputs_are_wrapped_by_type(red):
    handle = handle_agent_output_types
    assert type(handle("a")) is AgentText and type(handle(3, "string")) is AgentText
    assert isinstance(handle(red), AgentImage) and isinstance(handle(png(red), "image"), AgentImage)
    assert isinstance(handle(numpy.zeros(3), "audio"), AgentAudio)
    assert [handle(value, "any") for value in (3, None, [1])] == [3, None, [1]]
    assert handle(text := AgentText("a"), "string") is text
    with pytest.raises(ToolTypeError):
        handle(3, "image")


def test_inputs_are_unwrapped(red):
    assert handle_agent_input_types(AgentText("a"), 1, picture=AgentImage(red)) == (["a", 1], {"picture": red})


def test_they_show_themselves_in_a_notebook(tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(Path(smol_kernel.__file__).parent.parent)!r})
import numpy, PIL.Image
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from smol_kernel.memory.rich_values import AgentAudio, AgentImage
InteractiveShell.instance()
with capture_output() as shown:
    AgentImage(PIL.Image.new("RGB", (3, 2)))._ipython_display_()
    AgentAudio(numpy.zeros(10))._ipython_display_()
print("image/png" in shown.outputs[0].data, "<audio" in shown.outputs[1].data["text/html"])
"""
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stdout == "True True\n"
