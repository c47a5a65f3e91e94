//! What a store honours when several create one key, in one letter, and what the worse letter costs.

use std::fmt;

/// Whether the first of several who create an object wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreClass {
    /// Exactly one wins, and all others are told so.
    A,
    /// Some are told that they won, though another did.
    B,
}

impl StoreClass {
    /// The letter, as it stands in a config.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }

    /// The class of a letter.
    pub fn parse(letter: &str) -> Option<Self> {
        match letter {
            "A" => Some(Self::A),
            "B" => Some(Self::B),
            _ => None,
        }
    }

    /// What someone has to do without on a store of this class.
    pub fn cost(self) -> Option<&'static str> {
        match self {
            Self::A => None,
            Self::B => Some(
                "what class B costs: one collector only, another machine's dead session is not given \
                 up automatically, and two people must not change keys at the same time; backups and \
                 restores are as safe, because no two writers ever choose the same name",
            ),
        }
    }
}

impl fmt::Display for StoreClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_back_and_b_is_worse() {
        for class in [StoreClass::A, StoreClass::B] {
            assert_eq!(StoreClass::parse(class.as_str()), Some(class));
        }
        assert_eq!(StoreClass::parse("C"), None);
        assert!(StoreClass::B > StoreClass::A && StoreClass::B.cost().is_some());
    }
}
