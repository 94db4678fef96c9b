"""A text filter: plain text in, paragraphs, headings, quotes and lists out."""

from django import template
from django.utils.html import format_html, format_html_join, urlize
from django.utils.safestring import mark_safe

register = template.Library()


@register.filter
def prose(text):
    blocks = text.replace("\r\n", "\n").split("\n\n")
    return format_html_join(
        "\n", "{}", ((block(b.strip()),) for b in blocks if b.strip())
    )


def block(text):
    lines = text.split("\n")
    if text.startswith("## "):
        return format_html("<h2>{}</h2>", text[3:])
    if all(line.startswith("> ") for line in lines):
        return format_html("<blockquote>{}</blockquote>", links(strip(lines)))
    if all(line.startswith("- ") for line in lines):
        items = format_html_join("", "<li>{}</li>", ((links(li[2:]),) for li in lines))
        return format_html("<ul>{}</ul>", items)
    return format_html("<p>{}</p>", links(text))


def strip(lines):
    return "\n".join(line[2:] for line in lines)


def links(text):
    """Escape the text, then make its addresses links."""
    return mark_safe(urlize(text, nofollow=True, autoescape=True))
