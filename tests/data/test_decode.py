"""One picture from bytes that anybody may have written."""

import io

import pytest
from PIL import Image

from ganvas.data.decode import look


def progressive(more: int, behind: bytes = b"") -> bytes:
    """A progressive JPEG whose last pass over the pixels comes again, and what lies behind its end."""
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "JPEG", progressive=True)
    content = file.getvalue()
    assert content.count(b"\xff\xda") == 6  # of a grey one
    return content[:-2] + content[content.rfind(b"\xff\xda") : -2] * more + content[-2:] + behind


def test_a_jpeg_of_many_passes_is_refused() -> None:
    """Twelve bytes each, and 20 ms at 64 megapixels: 1 MB would take half an hour."""
    assert look(progressive(58)).size == (256, 256)
    with pytest.raises(ValueError, match="more than 64 passes"):
        look(progressive(59))


def test_what_lies_behind_the_end_of_a_jpeg_is_not_counted() -> None:
    """Phones put a film there."""
    assert look(progressive(0, b"\xff\xda" * 1000)).grey


def test_marks_inside_of_a_segment_are_not_counted() -> None:
    content, thumbnails = progressive(0), b"\xff\xda" * 1000
    segment = b"\xff\xe5" + (len(thumbnails) + 2).to_bytes(2, "big") + thumbnails
    assert look(content[:2] + segment + content[2:]).size == (256, 256)
