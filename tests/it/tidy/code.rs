//! Rust text reduced to its code: comments and literals become blanks, lines stay where they are.

/// What the reader stands in.
enum Inside {
    Code,
    LineComment,
    BlockComment { depth: u32 },
    Text,
    RawText { hashes: usize },
}

/// `text` with everything blanked that is not code.
pub fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut inside = Inside::Code;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let (taken, after) = step(&inside, rest, code.chars().next_back());
        if let Some(after) = after {
            inside = after;
        }
        let is_code = matches!(inside, Inside::Code) && taken == next.len_utf8() && next != '"';
        for taken_char in rest[..taken].chars() {
            code.push(if is_code || taken_char == '\n' {
                taken_char
            } else {
                ' '
            });
        }
        rest = &rest[taken..];
    }
    code
}

/// How many bytes belong together at the start of `rest`, and where they lead.
fn step(inside: &Inside, rest: &str, before: Option<char>) -> (usize, Option<Inside>) {
    let one = rest.chars().next().map_or(0, char::len_utf8);
    match inside {
        Inside::Code if rest.starts_with("//") => (2, Some(Inside::LineComment)),
        Inside::Code if rest.starts_with("/*") => (2, Some(Inside::BlockComment { depth: 1 })),
        Inside::Code if rest.starts_with('"') => (1, Some(Inside::Text)),
        Inside::Code => match raw_start(rest, before).or_else(|| character(rest)) {
            Some(start) => start,
            None => (one, None),
        },
        Inside::LineComment if rest.starts_with('\n') => (1, Some(Inside::Code)),
        Inside::BlockComment { depth } if rest.starts_with("/*") => {
            (2, Some(Inside::BlockComment { depth: depth + 1 }))
        }
        Inside::BlockComment { depth: 1 } if rest.starts_with("*/") => (2, Some(Inside::Code)),
        Inside::BlockComment { depth } if rest.starts_with("*/") => {
            (2, Some(Inside::BlockComment { depth: depth - 1 }))
        }
        Inside::Text if rest.starts_with('\\') => {
            (1 + rest[1..].chars().next().map_or(0, char::len_utf8), None)
        }
        Inside::Text if rest.starts_with('"') => (1, Some(Inside::Code)),
        Inside::RawText { hashes } if rest.starts_with(&format!("\"{}", "#".repeat(*hashes))) => {
            (1 + hashes, Some(Inside::Code))
        }
        _ => (one, None),
    }
}

/// The start of `r"…"` or `r#"…"#`.
fn raw_start(rest: &str, before: Option<char>) -> Option<(usize, Option<Inside>)> {
    if before.is_some_and(|before| before.is_alphanumeric() || before == '_') {
        return None;
    }
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let quoted = after[hashes..].starts_with('"');
    let length = rest.len() - after.len() + hashes + 1;
    quoted.then_some((length, Some(Inside::RawText { hashes })))
}

/// A whole `'x'`; a lifetime is none.
fn character(rest: &str) -> Option<(usize, Option<Inside>)> {
    let content = rest.strip_prefix('\'')?;
    let length = if content.starts_with('\\') {
        let escaped = content.char_indices().nth(2)?.0;
        escaped
            + content[escaped - 1..]
                .find('\'')
                .map_or(0, |end| end.saturating_sub(1))
    } else {
        content.chars().next()?.len_utf8()
    };
    content[length..]
        .starts_with('\'')
        .then_some((length + 2, None))
}

/// The places in `code` where `word` stands by itself.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part =
        |near: Option<char>| near.is_some_and(|near| near.is_alphanumeric() || near == '_');
    code.match_indices(word).filter_map(move |(start, _)| {
        let before = code[..start].chars().next_back();
        let after = code[start + word.len()..].chars().next();
        (!is_part(before) && !is_part(after)).then_some(start)
    })
}

/// The number of the line that holds `offset`.
pub fn line_of(text: &str, offset: usize) -> usize {
    1 + text[..offset].matches('\n').count()
}

#[test]
fn blanks_what_is_no_code() {
    for (text, expected) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("f(\"a\\\"b{\") + g", "f(       ) + g"),
        ("r#\"a\"b\"# x", "         x"),
        (
            "('{', '\\'', '\\\\', 'a') <'a>",
            "(   ,     ,     ,    ) <'a>",
        ),
        ("for_r\"x\" y", "for_r    y"),
    ] {
        assert_eq!(code_of(text), expected, "{text}");
    }
}

#[test]
fn finds_words_by_themselves() {
    let found: Vec<_> = words("clap clap_x my_clap clap::A", "clap").collect();
    assert_eq!(found, [0, 20]);
}
