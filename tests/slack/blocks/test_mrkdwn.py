"""Text from outside in Slack: it notifies nobody, formats nothing and links nowhere by itself."""

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.slack.screen import mrkdwn
from tests.slack.notices import RUNNING, a_changelog, mrkdwn_of, new_entry, read
from webhook.slack.blocks.message import alert, main_message, thread_reply
from webhook.slack.blocks.mrkdwn import escape, mention, plain, short_url, units

JOINER = "\N{WORD JOINER}"
STAR, LOW = "\N{ASTERISK OPERATOR}", "\N{MODIFIER LETTER LOW MACRON}"
TILDE, GRAVE = "\N{TILDE OPERATOR}", "\N{MODIFIER LETTER GRAVE ACCENT}"
OPEN = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
CLOSE = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
# Slack reads these as markers as well.
WIDE_STAR, WIDE_LOW = "\N{FULLWIDTH ASTERISK}", "\N{FULLWIDTH LOW LINE}"
WIDE_GRAVE, WIDE_QUOTE = "\N{FULLWIDTH GRAVE ACCENT}", "\N{FULLWIDTH GREATER-THAN SIGN}"
WIDE = {WIDE_STAR, WIDE_LOW, WIDE_GRAVE, WIDE_QUOTE}


@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        ("Read <config> & reload", "Read &lt;config&gt; &amp; reload"),
        ("<!channel> <@U123> <https://evil.test|ok>", None),
        ("&lt;!channel&gt;", "&amp;lt;!channel&amp;gt;"),
        ("Two\nlines\x00 \u202eand \ud800more", "Two lines and more"),
        ("snake_case_name and 2*3*4 and a~b", "snake_case_name and 2*3*4 and a~b"),
        ("*bold* _italic_", f"{STAR}bold{STAR} {LOW}italic{LOW}"),
        ("~gone~ `code`", f"{TILDE}gone{TILDE} {GRAVE}code{GRAVE}"),
        ("> no quote", f"{CLOSE} no quote"),
        (f"{WIDE_STAR}wide{WIDE_STAR}", f"{STAR}wide{STAR}"),
        ("__init__.py", f"{LOW}{LOW}init{LOW}{LOW}.py"),
        ("@here and @channel", f"@{JOINER}here and @{JOINER}channel"),
        ("Bump @types/node", f"Bump @{JOINER}types/node"),
        ("octocat@github.com at 5 @ 6", "octocat@github.com at 5 @ 6"),
    ],
)
def test_outside_text_is_only_text(outside: str, inside: str | None) -> None:
    shown = escape(outside, 100)
    assert inside is None or shown == inside
    assert "<" not in shown


def test_a_text_is_cut_between_characters_as_slack_may_count_them() -> None:
    assert escape("abcdef", 6) == "abcdef"
    assert escape("abcdefg", 6) == "abcde…"
    assert escape("a&b", 6) == "a…"  # &amp; is five more
    assert escape("🚀🚀🚀", 6) == "🚀🚀🚀"
    assert escape("🚀🚀🚀🚀", 6) == "🚀🚀…"
    assert escape("abcd_efg", 6) == "abcd…"
    assert plain("<b> & *🚀*", 20) == f"{OPEN}b{CLOSE} & *🚀*"


@given(
    st.text(alphabet=st.sampled_from([*"ab0 _*~`<>&@é🚀\n\x00", *WIDE])),
    st.integers(1, 20),
)
@example("0`0*`0", 6)
def test_nothing_escaped_can_format_or_mention(text: str, limit: int) -> None:
    shown = escape(text, limit)
    assert units(shown) <= limit
    without_inner_marks = re.sub(r"(?<=[A-Za-z0-9])[*_~`]+(?=[A-Za-z0-9])", "", shown)
    assert not set(without_inner_marks) & {*"*_~`", *WIDE}
    assert not re.search(r"(?<![A-Za-z0-9_])@[^\s…\N{WORD JOINER}]", shown)
    assert not shown.startswith(("&gt;", ">"))
    assert re.fullmatch(r"(?:[^<>&]|&(?:amp|lt|gt);)*", shown)
    assert mrkdwn(shown) == shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://a.test/x?y=1&z=2#a", "https://a.test/x?y=1&z=2#a"),
        ("HTTP://a.test", "HTTP://a.test"),
        ("https://[::1]:8080/a%20b", "https://[::1]:8080/a%20b"),
        ('https://a.test/a b|c<d>"e\\f\n\x00', "https://a.test/a%20b%7Cc%3Cd%3E%22e%5Cf%0A%00"),
        ("https://a.test/ü\ud800", "https://a.test/%C3%BC?"),
        ("https://bücher.test/", "https://b%C3%BCcher.test/"),
        ("javascript:alert(1)", ""),
        ("ftp://a.test", ""),
        ("https://", ""),
        ("https:///a", ""),
        (" https://a.test", ""),
        ("https://a.test/" + "x" * 500, ""),
        ("https://a.test/" + "&" * 100, ""),
        ("", ""),
    ],
)
def test_only_web_addresses_become_links(url: str, safe: str) -> None:
    assert short_url(url) == safe


def test_an_invalid_address_leaves_the_text() -> None:
    notice = replace(
        RUNNING,
        repo_url="javascript:alert(1)",
        run_url="ftp://a.test",
        environment_url="file:///etc/passwd",
        page_url="",
        changelog=a_changelog(1, "Fix it"),
    )
    assert read(main_message(notice)) == [
        "🔄 acme/site to production in progress",
        "v1.3 @ 4f2c9d1  ·  by octocat  ·  Drone CI",
        "Deploys 1 commit:",
        "• 1bc1234 Fix it — hubot",
    ]


@pytest.mark.parametrize(
    ("ready", "shown"),
    [
        ("<@U0OCTOCAT>", "<@U0OCTOCAT>"),
        ("<@U1> <@W2>", "<@U1> <@W2>"),
        ("<!subteam^S0ONCALL>", "<!subteam^S0ONCALL>"),
        ("<!here>", "<!here>"),
        ("octocat", "octocat"),
        ("<b>", "&lt;b&gt;"),
        ("<https://evil.test|octocat>", "&lt;https://evil.test|octocat&gt;"),
        ("@oncall", "@oncall"),
        ("@Not-A-Group!", f"@{JOINER}Not-A-Group!"),
    ],
)
def test_a_mention_is_one_or_is_text(ready: str, shown: str) -> None:
    message = alert(RUNNING, ready)
    assert message.text.endswith(f" · {shown}")
    headline, *_ = mrkdwn_of(message)
    assert headline["text"].endswith(f" · {shown}")


def test_of_very_many_mentions_the_first_stay_whole() -> None:
    shown = mention("<@U0OCTOCAT> " * 99)
    assert set(shown.split(" ")) == {"<@U0OCTOCAT>"}
    assert 150 < len(shown) <= 200


def test_slack_looks_up_nothing_but_the_name_of_a_group() -> None:
    notice = replace(RUNNING, description="@oncall see #deploys or www.evil.test")
    entries = [new_entry("in_progress", notice.description)]
    for message in (
        main_message(notice),
        alert(notice, "<@U1>"),
        thread_reply(notice, entries, broadcast=False),
    ):
        assert all(text["verbatim"] for text in mrkdwn_of(message))
    headline, *others = mrkdwn_of(alert(notice, "@oncall"))
    assert headline["verbatim"] is False
    assert all(text["verbatim"] for text in others)
