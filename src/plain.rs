//! Which characters may reach a terminal as they are. Names, server replies and environment variables
//! come from others: a control character in them could move the cursor, hide text, or make one name look
//! like another. This page decides it for every way of output.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character may go to a terminal as it is: no control character (C0, DEL, C1), none that
/// changes the direction of writing, breaks a line, or takes no room of its own.
pub fn is_plain(character: char) -> bool {
    let is_hidden = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        // Zero-width characters, marks of direction, separators of lines and paragraphs.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}');
    // No text has noncharacters; `cli/output.rs` marks headings with one.
    let is_noncharacter =
        matches!(character, '\u{fdd0}'..='\u{fdef}') || u32::from(character) & 0xfffe == 0xfffe;
    !character.is_control() && !is_hidden && !is_noncharacter
}

/// Text in which whatever is not plain is written as `\n`, `\u{1b}` and the like.
pub fn escaped(text: &str) -> Cow<'_, str> {
    replaced(text, |_| false, |text, character| text.extend(character.escape_default()))
}

/// The same for text of several lines: the ends of lines stay.
pub fn escaped_lines(text: &str) -> Cow<'_, str> {
    let is_end = |character| character == '\n';
    replaced(text, is_end, |text, character| text.extend(character.escape_default()))
}

/// The same for serialized JSON, which stays the same value. What is not plain stands inside strings only,
/// but for the ends of lines.
pub fn escaped_json(text: &str) -> Cow<'_, str> {
    replaced(
        text,
        |character| character == '\n',
        |text, character| {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        },
    )
}

fn replaced(
    text: &str,
    is_kept: impl Fn(char) -> bool,
    replace: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    let is_fine = |character| is_plain(character) || is_kept(character);
    if text.chars().all(is_fine) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_fine(character) { safe.push(character) } else { replace(&mut safe, character) }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "a\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2028}\u{200b}\u{e0041}\u{feff}\u{fdd0}z";

    #[test]
    fn nothing_hostile_passes() {
        for text in [escaped(HOSTILE), escaped_lines(HOSTILE), escaped_json(HOSTILE)] {
            assert!(text.chars().all(is_plain), "{text:?}");
            assert!(text.starts_with('a') && text.ends_with('z'), "{text}");
        }
        assert_eq!(escaped("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(escaped_lines("a\nb\tc"), "a\nb\\tc");
    }

    #[test]
    fn what_people_write_stays() {
        for text in ["größe 1", "日本語", "العربية", "naïve – “x”", "🙂\u{fe0f}", "e\u{301}"]
        {
            assert!(matches!(escaped(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn json_stays_the_same_value() {
        let text = serde_json::to_string(&[HOSTILE]).unwrap();
        let back: Vec<String> = serde_json::from_str(&escaped_json(&text)).unwrap();
        assert_eq!(back, [HOSTILE]);
    }
}
