//! The cursor that all binary parsers read with.

use backstay::repo::wire::{Cursor, put_bytes, put_signed, put_var};

/// The first byte says how many of the next are calls to make; the rest is what they read.
pub fn cursor(bytes: &[u8]) {
    let Some((&count, rest)) = bytes.split_first() else {
        return;
    };
    let (calls, data) = rest.split_at(usize::from(count).min(rest.len()));
    let mut cursor = Cursor::new(data);
    for call in calls {
        let before = cursor.clone();
        let read = one(&mut cursor, *call);
        assert!(cursor.remaining() <= before.remaining(), "a cursor went back");
        if let Some(canonical) = read {
            let mut again = Cursor::new(&canonical);
            assert!(one(&mut again, *call).is_some(), "a value does not come back");
            again.end().expect("a value was written longer than it is read");
        }
    }
    assert_eq!(cursor.end().is_ok(), cursor.remaining() == 0);
}

/// Makes one call; returns what it read as the library would write it.
fn one(cursor: &mut Cursor<'_>, call: u8) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match call % 11 {
        0 => out.push(cursor.u8().ok()?),
        1 => out.extend_from_slice(&cursor.u16().ok()?.to_le_bytes()),
        2 => out.extend_from_slice(&cursor.u32().ok()?.to_le_bytes()),
        3 => out.extend_from_slice(&cursor.u64().ok()?.to_le_bytes()),
        4 => put_var(&mut out, cursor.var().ok()?),
        5 => put_var(&mut out, cursor.var_u32().ok()?.into()),
        6 => put_signed(&mut out, cursor.signed().ok()?),
        7 => put_bytes(&mut out, cursor.bytes().ok()?),
        8 => put_bytes(&mut out, cursor.text().ok()?.as_bytes()),
        9 => out.extend_from_slice(&cursor.array::<24>().ok()?),
        _ => {
            let least = usize::from(call);
            let count = cursor.count(least).ok()?;
            assert!(count * least.max(1) <= cursor.remaining(), "more than there is room for");
            return None;
        }
    }
    Some(out)
}
