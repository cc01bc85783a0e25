"""Targets: one reading or none. The other readers here are urllib, posixpath and yarl (what aiohttp routes by)."""

import posixpath
import time
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from yarl import URL

from edge.contract.reasons import Reason
from edge.http1.target import Target, TargetProblem, _known, check_target, normalise_target

TRICKS = [
    *["/", "//", "\\", "%2f", "%2F", "%5c", "%5C", ".", "..", "%2e", "%2E%2e", "%252e", "%252f", "%25", "%25%32%65"],
    *[";", ";x=1", "%3b", "?", "%3f", "#", "%23", "%00", "%0a", "%", "%zz", "%u002f", "%25u002f", "%c0%ae", "%20"],
    *["%41", "%7e", "%c3%a9", "admin", "public", "a", "1", "~", "@", ":", "+", "|", "%e2%80%a5", "%ff", "\x00", "\xe9"],
]
hostile_paths = st.lists(st.sampled_from(TRICKS), max_size=10).map(
    lambda parts: ("/" + "".join(parts)).encode("latin-1")
)
any_targets = st.one_of(hostile_paths, st.binary(max_size=60), st.binary(max_size=40).map(lambda raw: b"/" + raw))


def accepted(target: bytes) -> Target:
    result = check_target(target)
    assert isinstance(result, Target), (target, result)
    return result


def refused(target: bytes) -> TargetProblem:
    result = check_target(target)
    assert isinstance(result, TargetProblem), (target, result)
    return result


def normal(target: bytes) -> bytes:
    result = normalise_target(target)
    assert isinstance(result, bytes), (target, result)
    return result


# What is accepted goes on as it came.


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", None),
        (b"/browse", b"/browse", None),
        (b"/browse/", b"/browse/", None),
        (b"/browse?", b"/browse", b""),
        (b"/a/b.c/d-e_f~g?x=1&y=2", b"/a/b.c/d-e_f~g", b"x=1&y=2"),
        (b"/.well-known/thing", b"/.well-known/thing", None),
        (b"/a/...", b"/a/...", None),
        (b"/!$&'()*+,=:@[]^|", b"/!$&'()*+,=:@[]^|", None),
        (b"/100%25", b"/100%25", None),
        (b"/caf%c3%a9", b"/caf%C3%A9", None),
    ],
)
def test_an_unambiguous_target_passes_byte_for_byte(target: bytes, path: bytes, query: bytes | None) -> None:
    assert accepted(target) == (path, query, None, target)


def test_an_escaped_letter_reaches_the_origin_as_sent_but_rules_see_the_letter() -> None:
    target = accepted(b"/%61dmin/%7Euser%2d1")
    assert target.path == b"/admin/~user-1"
    assert target.origin_form == b"/%61dmin/%7Euser%2d1"


def test_an_escaped_reserved_character_stays_escaped_in_what_rules_see() -> None:
    assert accepted(b"/users/a%40b.example%2c%20x").path == b"/users/a%40b.example%2C%20x"


@pytest.mark.parametrize("query", [b"x=%zz", b"%", b"a[]=1", b'{"a":"b"}', b"/../x", b"\\", b"a?b?c", b";x", b"%2f%00"])
def test_p5_the_query_is_opaque_and_passes_as_it_came(query: bytes) -> None:
    target = accepted(b"/public?" + query)
    assert (target.path, target.query, target.origin_form) == (b"/public", query, b"/public?" + query)


def test_a_target_seen_before_is_read_the_same_again_and_few_are_kept() -> None:
    for count in range(3000):
        assert accepted(b"/title/%d?page=1" % (count % 1500)).path == b"/title/%d" % (count % 1500)
    assert accepted(b"/browse?x=1") is accepted(b"/browse?x=1")
    assert len(_known) <= 1024


# What is read in more than one way is refused.


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        (b"/public/../admin", "dot_segment"),
        (b"/public/%2e%2e/admin", "dot_segment"),
        (b"/public/.%2E/admin", "dot_segment"),
        (b"/public/./admin", "dot_segment"),
        (b"/public/..", "dot_segment"),
        (b"/.", "dot_segment"),
        (b"/public/..%20/admin", "dot_segment"),
        (b"/public/%2E%2e%2fadmin", "encoded_separator"),
        (b"/public/..%2fadmin", "encoded_separator"),
        (b"/%252e%252e/admin", "double_encoding"),
        (b"/a%252fb", "double_encoding"),
        (b"/a%25%32%66b", "double_encoding"),
        (b"/a%2541", "double_encoding"),
        (b"/a%25u002fb", "double_encoding"),
    ],
)
def test_p1_dot_segments_in_every_disguise_are_ambiguous(target: bytes, detail: str) -> None:
    assert refused(target) == TargetProblem(Reason.AMBIGUOUS_PATH, detail)


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        (b"//admin", "empty_segment"),
        (b"/a//admin", "empty_segment"),
        (b"/a//", "empty_segment"),
        (b"/\\admin", "backslash"),
        (b"/a\\..\\admin", "backslash"),
        (b"/%5cadmin", "encoded_separator"),
        (b"/%5Cadmin", "encoded_separator"),
        (b"/%2fadmin", "encoded_separator"),
        (b"/%2Fadmin", "encoded_separator"),
    ],
)
def test_p2_doubled_and_disguised_separators_are_ambiguous(target: bytes, detail: str) -> None:
    assert refused(target) == TargetProblem(Reason.AMBIGUOUS_PATH, detail)


@pytest.mark.parametrize(
    "target",
    [b"/.;/admin", b"/..;/admin", b"/public;/../admin", b"/admin;x=1", b"/admin;", b"/;/admin", b"/admin%3bx=1"],
)
def test_p3_path_parameters_are_ambiguous(target: bytes) -> None:
    assert refused(target) == TargetProblem(Reason.AMBIGUOUS_PATH, "path_parameter")


@pytest.mark.parametrize("target", [b"/admin#/public", b"/admin?x#y", b"#", b"/#"])
def test_p4_a_fragment_is_not_part_of_a_target(target: bytes) -> None:
    assert refused(target).reason is Reason.BAD_TARGET


@pytest.mark.parametrize("target", [b"/admin%23/public", b"/public%3f/../admin", b"/a%3F", b"/a%23"])
def test_p4_p5_escaped_delimiters_are_ambiguous(target: bytes) -> None:
    assert refused(target) == TargetProblem(Reason.AMBIGUOUS_PATH, "encoded_delimiter")


@pytest.mark.parametrize(
    ("target", "reason", "detail"),
    [
        (b"/%c0%ae%c0%ae/admin", Reason.AMBIGUOUS_PATH, "not_utf8"),
        (b"/%e0%80%af", Reason.AMBIGUOUS_PATH, "not_utf8"),
        (b"/%ed%a0%80", Reason.AMBIGUOUS_PATH, "not_utf8"),
        (b"/caf%e9", Reason.AMBIGUOUS_PATH, "not_utf8"),
        (b"/admin%00.png", Reason.AMBIGUOUS_PATH, "control_character"),
        (b"/a%0d%0ab", Reason.AMBIGUOUS_PATH, "control_character"),
        (b"/a%7f", Reason.AMBIGUOUS_PATH, "control_character"),
        (b"/%zz", Reason.BAD_TARGET, "lone_percent"),
        (b"/100%", Reason.BAD_TARGET, "lone_percent"),
        (b"/a%2", Reason.BAD_TARGET, "lone_percent"),
        (b"/a%u002fb", Reason.BAD_TARGET, "lone_percent"),
    ],
)
def test_p6_bad_escapes_and_bad_text_are_refused(target: bytes, reason: Reason, detail: str) -> None:
    assert refused(target) == TargetProblem(reason, detail)


@pytest.mark.parametrize(
    ("target", "authority", "origin_form"),
    [
        (b"http://example.com/a?b", b"example.com", b"/a?b"),
        (b"HTTP://Example.COM:8080/a", b"Example.COM:8080", b"/a"),
        (b"https://[::1]:443/", b"[::1]:443", b"/"),
        (b"http://example.com", b"example.com", b"/"),
    ],
)
def test_p7_absolute_form_names_its_authority_for_the_comparison_with_host(
    target: bytes, authority: bytes, origin_form: bytes
) -> None:
    result = accepted(target)
    assert (result.authority, result.origin_form) == (authority, origin_form)


@pytest.mark.parametrize(
    "target",
    [
        *[b"http://user@example.com/", b"http://user:pass@example.com/", b"http:///a", b"http://", b"http:/a"],
        *[b"http://example.com?x", b"http://exa mple.com/", b"http://example.com:port/", b"http://example.com\\@b/"],
        *[b"ftp://example.com/", b"javascript:alert(1)", b"example.com:443", b"http://%65xample.com/", b"http://a#b/"],
    ],
)
def test_p7_an_absolute_form_that_is_not_plainly_http_and_a_host_is_bad(target: bytes) -> None:
    assert refused(target).reason is Reason.BAD_TARGET


def test_p7_the_path_of_an_absolute_form_is_held_to_the_same_rules() -> None:
    assert refused(b"http://example.com/public/../admin") == TargetProblem(Reason.AMBIGUOUS_PATH, "dot_segment")


@pytest.mark.parametrize("target", [b"", b"*", b"admin", b"?x=1", b"\\admin", b"../admin", b"%2fadmin", b" /a"])
def test_p8_a_target_without_a_leading_slash_is_bad(target: bytes) -> None:
    assert refused(target).reason is Reason.BAD_TARGET


@pytest.mark.parametrize("target", [b"/admin/", b"/admin.", b"/admin%20", b"/ADMIN", b"/admin"])
def test_p9_trailing_marks_and_case_are_kept_so_that_rule_and_origin_see_the_same(target: bytes) -> None:
    assert accepted(target).path == target
    assert accepted(target).origin_form == target


@pytest.mark.parametrize("byte", [*range(0x21), *range(0x7F, 0x100)])
def test_p10_raw_control_and_non_ascii_bytes_are_bad_in_path_and_query(byte: int) -> None:
    for target in (b"/a%cb" % byte, b"/a?b%cc" % byte):
        assert refused(target) == TargetProblem(Reason.BAD_TARGET, "illegal_character")


@pytest.mark.parametrize("character", list(b'"<>`{}'))
def test_a_character_that_no_path_may_hold_is_bad(character: int) -> None:
    assert refused(b"/a%cb" % character).detail == "illegal_character"


@pytest.mark.parametrize("piece", [b"a", b"/a", b"%41", b"%c3%a9", b"/.a", b"%20", b"/", b"\\", b";", b"/..", b"%"])
def test_p14_a_64_kilobyte_path_is_judged_in_linear_time(piece: bytes) -> None:
    target = b"/x" + piece * (65_536 // len(piece))
    started = time.process_time()
    check_target(target)
    check_target(target + b"#")
    normalise_target(target)
    assert time.process_time() - started < 1


# Whatever is accepted has one reading.


def segments_by_urllib(target: bytes) -> list[bytes]:
    return unquote_to_bytes(urlsplit(b"http://h" + target).path).split(b"/")


def segments_by_posix(target: bytes) -> list[bytes]:
    path = unquote_to_bytes(target.split(b"?")[0])
    resolved = posixpath.normpath(path)
    return (resolved + b"/" if path.endswith(b"/") and resolved != b"/" else resolved).split(b"/")


def segments_by_yarl(target: bytes) -> list[bytes]:
    return URL("http://h" + target.decode()).path.encode().split(b"/")


def segments_by_decoding_twice(target: bytes) -> list[bytes]:
    return segments_by_posix(unquote_to_bytes(target.split(b"?")[0]))


@settings(max_examples=1500)
@given(any_targets)
@example(b"/%25%34%31")
@example(b"/%20./a")
@example(b"/a%253")
def test_an_accepted_target_has_the_same_segments_for_every_reader(target: bytes) -> None:
    result = check_target(target)
    if not isinstance(result, Target):
        return
    sent = result.origin_form
    expected = [unquote_to_bytes(segment) for segment in result.path.split(b"/")]
    assert segments_by_urllib(sent) == expected
    assert segments_by_posix(sent) == expected
    assert segments_by_yarl(sent) == expected
    assert segments_by_decoding_twice(sent) == expected


@settings(max_examples=800)
@given(any_targets)
def test_an_accepted_target_is_sent_as_it_came(target: bytes) -> None:
    result = check_target(target)
    if isinstance(result, Target) and result.authority is None:
        assert result.origin_form == target


# Normalising, where a route opts in.


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/", b"/"),
        (b"/public/../admin", b"/admin"),
        (b"/public/%2e%2E/admin", b"/admin"),
        (b"/public/%2e%2e%2fadmin", b"/admin"),
        (b"/../../admin", b"/admin"),
        (b"/a/./b/", b"/a/b/"),
        (b"/a/b/..", b"/a/"),
        (b"/a/b/.", b"/a/b/"),
        (b"/a/..", b"/"),
        (b"//admin", b"/admin"),
        (b"/a\\b%5Cc%2fd", b"/a/b/c/d"),
        (b"/.;/admin", b"/admin"),
        (b"/a/..;x=1/admin;y=2", b"/admin"),
        (b"/a%3bx/b", b"/a/b"),
        (b"/%7euser/%c3%a9", b"/~user/%C3%A9"),
        (b"/a/../b?x=/../y", b"/b?x=/../y"),
        (b"/a/%20/b", b"/a/%20/b"),
        (b"http://h//a", b"http://h/a"),
        (b"http://h", b"http://h/"),
    ],
)
def test_normalising_resolves_what_has_a_safe_form(target: bytes, expected: bytes) -> None:
    assert normal(target) == expected


@pytest.mark.parametrize(
    "target",
    [b"/%252e%252e/a", b"/a%00", b"/a%3fb", b"/a%23b", b"/%c0%ae", b"/%zz", b"/a#b", b"*", b"", b"/a\x00", b"a/b"],
)
def test_normalising_refuses_what_has_none(target: bytes) -> None:
    assert isinstance(normalise_target(target), TargetProblem)


@settings(max_examples=1500)
@given(any_targets)
def test_normalising_is_idempotent_and_its_result_is_accepted_and_seen_alike_by_rule_and_origin(target: bytes) -> None:
    result = normalise_target(target)
    if isinstance(result, TargetProblem):
        assert isinstance(check_target(target), TargetProblem)
        return
    assert normalise_target(result) == result
    checked = accepted(result)
    assert checked.origin_form.split(b"?")[0] == checked.path


@settings(max_examples=800)
@given(any_targets)
def test_normalising_an_accepted_target_changes_only_how_escapes_are_written(target: bytes) -> None:
    result = check_target(target)
    if isinstance(result, Target):
        assert accepted(normal(target))[:3] == result[:3]
