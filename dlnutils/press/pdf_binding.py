"""Printed parts bound into one PDF: pages, links from one part into another, outline, and the tags that screen readers follow.

Chromium tags each part: headings, paragraphs, links, alternative texts. A page refers to its tags by a number, which
counts from 0 in every part; here the parts' trees become branches of one tree, and the numbers go on.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

__all__ = ["ORIGIN", "ELSEWHERE", "Tags", "bind"]

#: Where the parts pretend to live: the browser's requests are answered from the site's folder, and no others.
ORIGIN = "http://book.invalid"

#: A link into another part; it becomes a link inside the PDF when the parts are bound.
ELSEWHERE = ORIGIN + "/elsewhere#"

#: Kinds of PDF 2.0 that readers of PDF 1.7 do not know, and what they are to them.
ROLES = {"/Strong": "/Span", "/Em": "/Span", "/Title": "/H1"}


class Tags:
    """The tags of a document that grows by one part after the other.

    Parameters
    ----------
    writer : pypdf.PdfWriter
        The document.
    """

    def __init__(self, writer):
        from pypdf.generic import ArrayObject
        self.writer, self.branches, self.numbers, self.next = writer, ArrayObject(), ArrayObject(), 0

    def append(self, reader, first_page: int) -> None:
        """Take over the tags of a part whose pages the document has already, from ``first_page`` (0, 1, …) on.

        Raises
        ------
        ValueError
            The part has no tags.
        """
        from pypdf.generic import ArrayObject, NameObject, NumberObject

        tree = reader.trailer["/Root"].get("/StructTreeRoot")
        if tree is None:
            raise ValueError("reader must have tags, and its document has none: print it with tagged=True")
        tree = tree.get_object().clone(self.writer)
        kids = tree["/K"]
        for branch in kids if isinstance(kids, ArrayObject) else [tree.raw_get("/K")]:
            self.branches.append(branch)
        for number, tags in _entries(tree["/ParentTree"]):
            self.numbers.extend([NumberObject(self.next + number), tags])
        for page, source in zip(self.writer.pages[first_page:], reader.pages):
            if "/StructParents" in source:                 # pypdf leaves it out of its copies
                page[NameObject("/StructParents")] = NumberObject(self.next + source["/StructParents"])
            for note in [note.get_object() for note in page.get("/Annots", ())]:
                if "/StructParent" in note:
                    note[NameObject("/StructParent")] = NumberObject(self.next + note["/StructParent"])
        self.next += int(tree["/ParentTreeNextKey"])

    def finish(self, language: str = "en") -> None:
        """Give the document its one tree."""
        from pypdf.generic import ArrayObject, BooleanObject, DictionaryObject, NameObject, NumberObject, TextStringObject

        def dictionary(**entries):
            return self.writer._add_object(DictionaryObject({NameObject(f"/{key}"): value for key, value in entries.items()}))

        root = dictionary(Type=NameObject("/StructTreeRoot"), ParentTreeNextKey=NumberObject(self.next),
                          ParentTree=dictionary(Nums=self.numbers),
                          RoleMap=DictionaryObject({NameObject(kind): NameObject(known) for kind, known in ROLES.items()}))
        whole = dictionary(Type=NameObject("/StructElem"), S=NameObject("/Document"), P=root, K=self.branches)
        for branch in self.branches:
            branch.get_object()[NameObject("/P")] = whole
        root.get_object()[NameObject("/K")] = ArrayObject([whole])
        catalog = self.writer.root_object
        catalog[NameObject("/StructTreeRoot")] = root
        catalog[NameObject("/MarkInfo")] = DictionaryObject({NameObject("/Marked"): BooleanObject(True)})
        catalog[NameObject("/Lang")] = TextStringObject(language)


def _entries(tree):
    """Numbers and what they stand for, of a number tree of any depth."""
    tree = tree.get_object()
    entries = tree.get("/Nums", ())
    yield from zip(map(int, entries[::2]), (list.__getitem__(entries, place) for place in range(1, len(entries), 2)))
    for kid in tree.get("/Kids", ()):
        yield from _entries(kid)


def bind(sheets: list, outline: list, where: dict, output: Path, *, title: str, author: str) -> int:
    """Bind printed parts into one file with an outline and links between them; return the number of pages."""
    from pypdf import PdfWriter
    from pypdf.generic import ArrayObject, Fit, FloatObject, NameObject

    writer = PdfWriter()
    tags = Tags(writer)
    for reader in sheets:
        first = len(writer.pages)
        writer.append(reader, import_outline=False)
        tags.append(reader, first)
    tags.finish()
    for page in writer.pages:
        for note in page.get("/Annots", ()):
            link = note.get_object()
            address = link.get("/A", {}).get("/URI", "")
            if address.startswith(ELSEWHERE):
                number, left, top = where[unquote(address.removeprefix(ELSEWHERE))]
                link[NameObject("/Dest")] = ArrayObject([writer.pages[number].indirect_reference, NameObject("/XYZ"),
                                                         FloatObject(left), FloatObject(top), FloatObject(0)])
                del link["/A"]
    parents = []                                           # (depth, item) on the way from the root to the last item
    for depth, anchor, words in outline:
        number, left, top = where[anchor]
        parents = [(above, item) for above, item in parents if above < depth]
        item = writer.add_outline_item(title=words, page_number=number, parent=parents[-1][1] if parents else None,
                                       is_open=depth == 0, fit=Fit.xyz(left=left, top=top))
        parents.append((depth, item))
    writer.page_mode = "/UseOutlines"
    writer.add_metadata({"/Title": title, "/Author": author})
    writer.compress_identical_objects()                    # fonts and pictures that several parts embed
    partial = output.with_name(output.name + ".part")
    output.parent.mkdir(parents=True, exist_ok=True)
    writer.write(partial)
    partial.replace(output)
    return len(writer.pages)
