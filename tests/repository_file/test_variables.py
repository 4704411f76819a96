"""`${NAME}` in a repository's deploy.yml, as drone/envsubst 1.0.3 reads it.

The first table's cases are those of its own tests (github.com/drone/envsubst, eval_test.go).
"""

import re
import time

import pytest

from webhook.repository_file.variables import BadSubstitution, gitploys, substitute

LETTERS = {"v": "abcdEFGH28ij", "upper": "ABCDEFGH28IJ", "path": "/home/bozo/ideas/thoughts.for"}
FILES = {"file": "bash.string.txt", "dirs": "path/to/file", "rooted": "/path/to/file"}
VALUES = {**LETTERS, **FILES, "z": "abcABC123ABCabc", "slash": "foo/bar/baz", "foo": "foo"}
VALUES |= {"empty": "", "dot": "foo.bar"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("abcdEFGH28ij", "abcdEFGH28ij"),
        ("${#v}", "12"),
        ("${v^}", "AbcdEFGH28ij"),
        ("${v^^}", "ABCDEFGH28IJ"),
        ("${upper,}", "aBCDEFGH28IJ"),
        ("${upper,,}", "abcdefgh28ij"),
        ("${path:11}", "ideas/thoughts.for"),
        ("${path:11:5}", "ideas"),
        ("${v=xyz}", "abcdEFGH28ij"),
        ("${empty=xyz}", "xyz"),
        ("${empty:=xyz}", "xyz"),
        ("something ${empty=${foo}}", "something foo"),
        ("foo: ${empty=${foo}-suffix}", "foo: foo-suffix"),
        ("foo: ${empty=prefix${foo}-suffix}", "foo: prefixfoo-suffix"),
        ("${z/%abc/XYZ}", "abcABC123ABCXYZ"),
        ("${z/#abc/XYZ}", "XYZABC123ABCabc"),
        ("${z//abc/xyz}", "xyzABC123ABCxyz"),
        ("${z/abc/xyz}", "xyzABC123ABCabc"),
        ("${file#*.}", "string.txt"),
        ("${dirs#*/}", "to/file"),
        ("${rooted#*/}", "path/to/file"),
        ("${file##*.}", "txt"),
        ("${dirs##*/}", "file"),
        ("${rooted##*/}", "file"),
        ("${file%.*}", "bash.string"),
        ("${file%%.*}", "bash"),
        ("${empty=${v^^}}", "ABCDEFGH28IJ"),
        ("$${v}", "${v}"),
        ("a ${foo}$${foo$${foo}$foo${foo}", "a foo${foo${foo}$foofoo"),
        ("a $${empty=${foo}}", "a ${empty=foo}"),
        (r"${slash/\//-}", "foo-bar/baz"),
        (r"${slash//\//-}", "foo-bar-baz"),
        ("${dot/./}", "foobar"),
    ],
)
def test_it_substitutes_as_envsubst_does(text: str, result: str) -> None:
    assert substitute(text, VALUES).text == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        # All three, and two that are something else in a shell.
        ("${empty:-d} ${empty:?d} ${empty:+d} ${foo:+d} ${foo:?d}", "d d d foo foo"),
        ("${empty=} ${empty:=}", " "),
        # Everywhere, in comments and in double quotes too; single backslashes stay.
        (r'"v\\.*" \/ \d $$ $ $5 \\\\', r'"v\.*" / \d $ $ $5 \\'),
        ("${foo:0:2}|${foo:9}|${foo:1:99}|${path:-3}", "fo||oo|/home/bozo/ideas/thoughts.for"),
        ("${foo:${empty=1}}", "oo"),
        ("${foo:x}", "foo"),
        ("${dirs%/*} ${dirs%%/*} ${dirs#?} ${dirs#p[a-c]} ${dirs#[^p]}", "path/to path ath/to/file"
         " th/to/file path/to/file"),
        (r"${foo#[}|${foo#\}|${foo#[a-]*}|${foo#\f}", "foo|foo|foo|oo"),
        ("${foo,^} ${foo,,}", "foo foo"),
        ("${z//[A-Z]/}", "abcABC123ABCabc"),  # no pattern, but text
        ("é ${foo} ü", "é foo ü"),
        ("${v#abc}#", "dEFGH28ij#"),
    ],
)  # fmt: skip
def test_what_is_odd_about_it_is_kept(text: str, result: str) -> None:
    assert substitute(text, VALUES).text == result


@pytest.mark.parametrize(
    ("text", "offset", "message"),
    [
        ("a: ${foo", 3, "has no } at its end"),
        ("${", 0, "has no name of a variable"),
        ("${{ github.sha }}", 0, "has no name of a variable"),
        ("a ${foo-d}", 2, "has a '-' without a colon; write :- for a default"),
        ("${foo.bar}", 0, "has a '.' where its } should be"),
        ("${foo#}", 0, "lacks something before its end"),
        ("${foo/}", 0, "has no second slash; write /old/new"),
        ("${foo///x}", 0, "lacks something before its end"),
        ("${foo:}", 0, "lacks something before its end"),
        ("${foo:1:-1}", 0, "has a negative length"),
        ("${#foo:1}", 0, "has a ':' where its } should be"),
        ("b ${foo:=${}", 9, "has no name of a variable"),
        ("${foo=" * 20, 60, "has too many others within it"),
    ],
)
def test_what_envsubst_refuses_is_an_error_with_its_place(
    text: str, offset: int, message: str
) -> None:
    with pytest.raises(BadSubstitution, match=re.escape(message)) as caught:
        substitute(text, VALUES)
    assert (caught.value.offset, str(caught.value)) == (offset, message)


def test_each_character_knows_where_it_comes_from() -> None:
    raw = "a ${empty:=\nxy} $$ \\\\ ${foo}z"
    found = substitute(raw, VALUES)
    assert found.text == "a \nxy $ \\ fooz"
    assert found.offsets == [0, 1, 2, 2, 2, 15, 17, 18, 20, 21, 22, 22, 22, 28, 29]
    assert len(found.offsets) == len(found.text) + 1
    assert [(raw[at], one) for at, one in zip(found.offsets, found.text, strict=False)][-2:] == [
        ("$", "o"),
        ("z", "z"),
    ]


def test_only_gitploys_names_mean_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_OF_SECRETS", "sesame")
    text = "${GITPLOY_DEPLOY_TASK}${GITPLOY_ROLLBACK_TASK}:k8s ${GITPLOY_IS_ROLLBACK}"
    assert substitute(text, gitploys(rollback=False)).text == "deploy:k8s false"
    assert substitute(text, gitploys(rollback=True)).text == "rollback:k8s true"
    text = "${GITPLOY_DEPLOY_TASK:=rollback}:k8s"
    assert substitute(text, gitploys(rollback=True)).text == "rollback:k8s"
    found = substitute("a ${HOME_OF_SECRETS} ${GITPLOY_TAG^^}", gitploys(rollback=False))
    assert found.text == "a ERR_NOT_IMPLEMENTED ERR_NOT_IMPLEMENTED"
    assert [(one.name, one.offset) for one in found.unknown] == [
        ("HOME_OF_SECRETS", 2),
        ("GITPLOY_TAG", 21),
    ]


def test_no_text_takes_long_or_grows_without_end() -> None:
    began = time.process_time()
    many = "x" * 60_000
    with pytest.raises(BadSubstitution, match="more text than"):
        substitute("${v//${empty=}/" * 8 + many + "}" * 8, VALUES)
    assert substitute("${v#" + "*a" * 10_000 + "}", VALUES).text == VALUES["v"]
    substitute("$" * 60_000 + "\\" * 60_000, VALUES)
    assert time.process_time() - began < 1
