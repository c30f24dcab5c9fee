"""The book as a whole: short enough to be read, and enough of it about what the papers print."""

import re
from collections import Counter

from committed import BOOK, NOTEBOOKS, SECTIONS

from dlnutils.press import ledger

#: What is read from the front to the end. The rest is looked up: exercises, laboratories, teaching, reference.
READ = ("book/index.md", "book/what-we-found.md", "book/open-questions.md", *(
    f"notebooks/{chapter}/index.md" for chapter in ("saddles", "mixed", "integrable", "transfer", "synthesis")))


def words(text: str) -> int:
    """Words of prose: no code, no displayed formulas, no options or fences of directives, no front matter."""
    text = re.sub(r"(?s)\A---\n.*?\n---\n", "", text)
    text = re.sub(r"(?ms)^(`{3,})(?:\w+|\{(?:code|literal)[^\n]*)\n.*?^\1$|\$\$.*?\$\$", "", text)
    text = re.sub(r"(?m)^(?:[`:]{3,}.*|:[\w-]+:.*|\(.*\)=)$", "", text)
    return len(text.split())


def running_text(section: str) -> str:
    """A page's prose up to its exercises."""
    cells = NOTEBOOKS[section]["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown").partition("## Exercises")[0]


def test_words_are_counted_without_what_is_not_prose():
    page = ("---\nhtml: no\n---\n# A title\n\n```python\ncode = 1\n```\n\n```{dln-figure} one fig-two\n:width: 3px\n"
            "A caption.\n```\n\n$$a = b$$\n\n(label)=\nTwo words.\n\n```{dln-lab} one\n```\n")
    assert words(page) == 7


def test_the_running_text_is_at_most_45_000_words():
    count = {name: words((BOOK / name).read_text(encoding="utf-8")) for name in READ}
    count |= {section: words(running_text(section)) for section in SECTIONS}
    assert sum(count.values()) <= 45_000, Counter(count).most_common(10)


def test_claims_are_few_and_many_of_them_are_the_papers():
    claims = ledger.collect(BOOK)
    source = Counter(claim["source"] for claim in claims)
    assert len(claims) <= 340 and set(source) == {"paper", "theory", "seeds"} and source["paper"] >= 90
    assert all(claim["where"] for claim in claims if claim["source"] == "paper")
