"""Uploaded pictures: let only real ones in, and store what we drew from them."""

from io import BytesIO

from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from PIL import Image, ImageOps

FORMATS = ["JPEG", "PNG", "WEBP"]
MAX_BYTES = 5 * 1024 * 1024
MAX_PIXELS = 40_000_000
STORED_SIZE = (1600, 1600)


def clean(upload):
    """The upload, drawn anew as a JPEG of modest size. That leaves behind
    whatever else was in the file, such as the place where it was taken."""
    if upload.size > MAX_BYTES:
        raise ValidationError("The picture is larger than 5 MB.")
    upload.seek(0)
    try:
        with Image.open(upload, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValidationError("The picture has too many pixels.")
            image.draft("RGB", STORED_SIZE)
            image = ImageOps.exif_transpose(image)
            image.thumbnail(STORED_SIZE)
            return as_jpeg(on_white(image))
    except ValidationError:
        raise
    except Exception as error:  # decoders raise many kinds on broken files
        raise ValidationError("This is no JPEG, PNG or WebP picture.") from error


def on_white(image):
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def as_jpeg(image):
    out = BytesIO()
    image.save(out, "JPEG", quality=85, optimize=True, progressive=True)
    return ContentFile(out.getvalue(), name="picture.jpg")
