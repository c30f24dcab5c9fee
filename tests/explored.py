"""What tests ask of an explorer on an open page."""


def headline(page):
    """The sentence above the curves."""
    return page.inner_text(".dln-headline")


def until_changed(page, before):
    """Wait until that sentence is another."""
    page.wait_for_function("before => document.querySelector('.dln-headline').innerText !== before", arg=before)
