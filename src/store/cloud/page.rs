//! A page of a listing before `object_store` reads it. That fails as a whole if one key on it is none that the
//! library can name: with `//`, `..` or a control character. Whoever may put objects could so hide all others.

use bytes::Bytes;
use object_store::path::Path;

/// How S3 and Google, and how Azure mark a row and the key in it.
const MARKS: [(&str, &str); 2] = [("Contents", "Key"), ("Blob", "Name")];

/// Leaves out the rows whose keys the library cannot name, or would name otherwise; none of ours is among them.
/// A page that is written in another way stays as it is.
pub(super) fn without_odd_rows(page: Bytes) -> Bytes {
    let Ok(text) = std::str::from_utf8(&page) else { return page };
    let Some(mark) = MARKS.iter().find(|(row, _)| text.contains(&format!("<{row}>"))) else {
        return page;
    };
    let kept: String = pieces(text, mark).filter(|piece| !is_odd(piece, mark.1)).collect();
    if kept.len() == text.len() { page } else { kept.into() }
}

/// A page cut before and behind each row.
fn pieces<'a>(text: &'a str, (row, _): &(&str, &str)) -> impl Iterator<Item = &'a str> {
    let (start, end) = (format!("<{row}>"), format!("</{row}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let length = match rest.find(&start) {
            None => rest.len(),
            Some(0) => rest.find(&end).map_or(rest.len(), |at| at + end.len()),
            Some(before) => before,
        };
        let (piece, after) = rest.split_at(length);
        rest = after;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

/// Whether a piece is a row with a key that the library does not keep as it is. A slash at its end is such
/// too: it marks a folder, and without it the row would seem to be an object.
fn is_odd(piece: &str, name: &str) -> bool {
    let key = piece.split_once(&format!("<{name}>")).and_then(|(_, after)| after.split_once('<'));
    let Some((key, _)) = key.filter(|_| is_row(piece)) else { return false };
    let key = unescaped(key);
    let is_odd = Path::parse(&key).map_or(true, |path| path.as_ref() != key);
    if is_odd {
        tracing::debug!(?key, "left out of a listing: no key of ours");
    }
    is_odd
}

fn is_row(piece: &str) -> bool {
    MARKS.iter().any(|(row, _)| piece.starts_with(&format!("<{row}>")))
}

/// Text without the references that XML has for characters.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let reference = part.split_once(';');
        let meant = reference.and_then(|(name, after)| Some((character(name)?, after)));
        let (character, after) = meant.unwrap_or(('&', part));
        plain.push(character);
        plain.push_str(after);
    }
    plain
}

fn character(name: &str) -> Option<char> {
    let number = |text: &str, radix| char::from_u32(u32::from_str_radix(text, radix).ok()?);
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix('#')?.strip_prefix(['x', 'X']) {
            Some(digits) => number(digits, 16),
            None => number(&name[1..], 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_of((row, name): (&str, &str), keys: &[&str]) -> String {
        let rows =
            keys.iter().map(|key| format!("<{row}><{name}>{key}</{name}><Size>1</Size></{row}>"));
        let rows: String = rows.collect();
        format!("<?xml version=\"1.0\"?><R><Name>bucket</Name>{rows}<Prefix>config//</Prefix></R>")
    }

    fn kept(mark: (&str, &str), keys: &[&str]) -> Bytes {
        without_odd_rows(page_of(mark, keys).into())
    }

    #[test]
    fn leaves_out_what_would_spoil_the_page() {
        let odd = [
            "config//x",
            "config/../x",
            "config/./x",
            "config/&#x1;x",
            "config/&#31;",
            "config/\u{1}",
            "config/x/",
            "/config/x",
        ];
        for mark in MARKS {
            for odd in odd {
                let found = kept(mark, &[odd, "config/a", odd, odd, "config/b", odd]);
                assert_eq!(found, page_of(mark, &["config/a", "config/b"]), "{odd}");
                assert_eq!(kept(mark, &[odd]), page_of(mark, &[]), "{odd}");
            }
        }
    }

    #[test]
    fn keeps_the_rest_as_it_is() {
        let keys = [
            "a&amp;b/c",
            "a&#xe9;/ü",
            "a&lt;b",
            "a&nosuch;b",
            "a&",
            "a%2F%2Fb",
            "a b",
            "&#x110000;",
        ];
        for mark in MARKS {
            assert_eq!(kept(mark, &keys), page_of(mark, &keys));
            assert_eq!(kept(mark, &[]), page_of(mark, &[]));
        }
        for other in ["", "<html>", "<Contents><Key>a", "<Contents></Contents>", "<Blob><Name>a//b"]
        {
            assert_eq!(without_odd_rows(other.into()), other);
        }
        let binary = Bytes::from_static(b"\xff<Contents><Key>a//b</Key></Contents>");
        assert_eq!(without_odd_rows(binary.clone()), binary);
    }
}
