//! What is trimmed from a value, and what is refused, by what it is for.

use zeroize::Zeroizing;

use super::Refusal;

/// What a value is for, and so what of it is never meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A name, a number, a URL: white space around it is not part of it.
    Word,
    /// A word that goes to a server: visible ASCII characters only.
    Token,
    /// A token that proves who asks: nothing but white space is a mistake, and not the same as none.
    Credential,
    /// A passphrase or password: only one final end of line is not part of it.
    Passphrase,
    /// A file or directory: only one final end of line is not part of it.
    Path,
    /// What a library reads by itself: nothing is trimmed, so what is not part of it is refused.
    Untouched,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are not text.
    #[error("is not UTF-8 text; set it again")]
    NotText,
    /// A control character that cannot be trimmed.
    #[error("holds a control character (line {line}, column {column}); set it without that")]
    Control {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// An end of a line that has others after it, or cannot be trimmed.
    #[error("holds a line break (line {line}, column {column}); set it without that")]
    LineBreak {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// A character that no server takes there.
    #[error(
        "holds a space or a character that is not ASCII (line {line}, column {column}); copy the value \
         again"
    )]
    Foreign {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// Nothing, where that would hide a mistake.
    #[error("is empty or holds only white space; set it, or remove it")]
    Blank,
    /// A text that is not what is wanted there.
    #[error("{0}")]
    Unusable(&'static str),
    /// The file that is named cannot be read.
    #[error("cannot be read: {0}; name a file that this user may read")]
    Unreadable(String),
}

/// The value in `bytes`; `None` if nothing is set. Of a variable, no bytes are none; `name` is what a
/// refusal calls it.
///
/// # Errors
/// A [`Refusal`] for what can neither be used nor trimmed.
pub fn clean(name: &str, bytes: &[u8], form: Form) -> Result<Option<Zeroizing<String>>, Refusal> {
    let refuse = |fault| Refusal { name: name.to_owned(), fault };
    let text = std::str::from_utf8(bytes).map_err(|_| refuse(Fault::NotText))?;
    if text.is_empty() {
        return Ok(None);
    }
    let kept = trimmed(text, form);
    if let Some(fault) = first_fault(text, kept, form) {
        return Err(refuse(fault));
    }
    if kept.trim().is_empty() {
        return match form {
            Form::Credential | Form::Passphrase | Form::Untouched => Err(refuse(Fault::Blank)),
            Form::Path if !kept.is_empty() => Ok(Some(Zeroizing::new(kept.to_owned()))),
            Form::Word | Form::Token | Form::Path => Ok(None),
        };
    }
    Ok(Some(Zeroizing::new(kept.to_owned())))
}

/// `text` without what is not part of it.
fn trimmed(text: &str, form: Form) -> &str {
    // Editors of Windows put it before everything.
    let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
    match form {
        Form::Word | Form::Token | Form::Credential => unmarked.trim(),
        Form::Passphrase | Form::Path => {
            let line = unmarked.strip_suffix('\n').unwrap_or(unmarked);
            line.strip_suffix('\r').unwrap_or(line)
        }
        Form::Untouched => text,
    }
}

/// The first character of `kept`, a part of `text`, that it cannot have.
fn first_fault(text: &str, kept: &str, form: Form) -> Option<Fault> {
    let is_ascii = matches!(form, Form::Token | Form::Credential);
    let is_wrong = |c: char| match form {
        Form::Passphrase => c.is_control() && c != '\t',
        _ => c.is_control() || (is_ascii && !c.is_ascii_graphic()),
    };
    let (at, wrong) = kept.char_indices().find(|(_, c)| is_wrong(*c))?;
    let start = text.find(kept).unwrap_or_default();
    let before = text.get(..start + at).unwrap_or_default();
    let line = 1 + before.matches('\n').count();
    let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
    Some(match wrong {
        '\n' | '\r' => Fault::LineBreak { line, column },
        _ if wrong.is_control() => Fault::Control { line, column },
        _ => Fault::Foreign { line, column },
    })
}
