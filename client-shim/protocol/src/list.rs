//! Several values of one kind: a key that is repeated ([`Items`]), or words in one value ([`Words`]).
//!
//! Both are a view: of a packet that was parsed (and so checked), or of a slice that a writer was given. They compare
//! by what they hold, wherever it lies.

use core::fmt::{self, Debug};

use crate::limits::MAX_WORDS;
use crate::lines::Line;
use crate::value::Value;
use crate::write::{Fault, Out};

/// The values of a repeated key, in order.
#[derive(Clone, Copy)]
pub struct Items<'a, T>(Held<'a, T>);

#[derive(Clone, Copy)]
enum Held<'a, T> {
    Slice(&'a [T]),
    /// `tail` starts at the first line with `key`; `count` lines of it have that key.
    Packet {
        tail: &'a str,
        key: &'a str,
        count: usize,
    },
}

impl<'a, T> Items<'a, T> {
    /// The values to write.
    #[must_use]
    pub const fn from_slice(values: &'a [T]) -> Self {
        Self(Held::Slice(values))
    }

    /// How often the key was given.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Held::Slice(values) => values.len(),
            Held::Packet { count, .. } => count,
        }
    }

    /// Whether the key was not given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One line more with this key, already checked to be a `T`.
    pub(crate) fn push(&mut self, line: &Line<'a>) {
        match &mut self.0 {
            Held::Packet { count, .. } => *count += 1,
            Held::Slice(_) => self.0 = Held::Packet { tail: line.tail, key: line.key, count: 1 },
        }
    }
}

impl<'a, T: Value<'a>> Items<'a, T> {
    /// The values in order.
    #[must_use]
    pub fn iter(&self) -> ItemsIter<'a, T> {
        ItemsIter(self.0)
    }
}

/// What [`Items::iter`] gives.
#[derive(Clone)]
pub struct ItemsIter<'a, T>(Held<'a, T>);

impl<'a, T: Value<'a>> Iterator for ItemsIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Held::Slice(values) => {
                let (&first, rest) = values.split_first()?;
                *values = rest;
                Some(first)
            }
            Held::Packet { tail, key, count } => {
                while *count > 0 {
                    let (line, rest) = tail.split_once('\n')?;
                    *tail = rest;
                    if let Some(line) = Line::split(line, "").filter(|line| line.key == *key) {
                        *count -= 1;
                        return T::read(line.value);
                    }
                }
                None
            }
        }
    }
}

/// The words of one value, in order.
#[derive(Clone, Copy)]
pub struct Words<'a, T>(Text<'a, T>);

#[derive(Clone, Copy)]
enum Text<'a, T> {
    Slice(&'a [T]),
    /// Words separated by one space, each checked to be a `T`.
    Packet(&'a str),
}

impl<'a, T> Words<'a, T> {
    /// The words to write.
    #[must_use]
    pub const fn from_slice(words: &'a [T]) -> Self {
        Self(Text::Slice(words))
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Text::Slice(words) => words.len(),
            Text::Packet(text) => text.bytes().filter(|&byte| byte == b' ').count() + 1,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Text::Slice([]))
    }
}

impl<'a, T: Value<'a>> Words<'a, T> {
    /// The words in order.
    #[must_use]
    pub fn iter(&self) -> WordsIter<'a, T> {
        WordsIter(match self.0 {
            Text::Slice(words) => Left::Slice(words),
            Text::Packet(text) => Left::Packet(text.split(' ')),
        })
    }
}

/// What [`Words::iter`] gives.
#[derive(Clone)]
pub struct WordsIter<'a, T>(Left<'a, T>);

#[derive(Clone)]
enum Left<'a, T> {
    Slice(&'a [T]),
    Packet(core::str::Split<'a, char>),
}

impl<'a, T: Value<'a>> Iterator for WordsIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Left::Slice(words) => {
                let (&first, rest) = words.split_first()?;
                *words = rest;
                Some(first)
            }
            Left::Packet(split) => split.next().and_then(T::read),
        }
    }
}

impl<'a, T: Value<'a>> Value<'a> for Words<'a, T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(text: &'a str) -> Option<Self> {
        let mut count = 0;
        for word in text.split(' ') {
            count += 1;
            if word.is_empty() || count > MAX_WORDS || T::read(word).is_none() {
                return None;
            }
        }
        Some(Self(Text::Packet(text)))
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        if self.is_empty() || self.len() > MAX_WORDS {
            return Err(Fault::Bad("a list of 1 to 64 words"));
        }
        for (index, word) in self.iter().enumerate() {
            if index > 0 {
                out.push(b" ")?;
            }
            let start = out.len();
            word.write(out)?;
            let word = out.since(start);
            if word.is_empty() || word.contains(&b' ') {
                return Err(Fault::Bad("words without a space in them"));
            }
        }
        Ok(())
    }
}

macro_rules! list_traits {
    ($list:ident, $iter:ident, $held:ident) => {
        impl<'a, T: Value<'a> + PartialEq> PartialEq for $list<'a, T> {
            fn eq(&self, other: &Self) -> bool {
                self.iter().eq(other.iter())
            }
        }

        impl<'a, T: Value<'a> + Eq> Eq for $list<'a, T> {}

        impl<'a, T: Value<'a> + Debug> Debug for $list<'a, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        }

        impl<T> Default for $list<'_, T> {
            fn default() -> Self {
                Self($held::Slice(&[]))
            }
        }

        impl<'a, T: Value<'a>> IntoIterator for $list<'a, T> {
            type Item = T;
            type IntoIter = $iter<'a, T>;

            fn into_iter(self) -> $iter<'a, T> {
                self.iter()
            }
        }
    };
}

list_traits!(Items, ItemsIter, Held);
list_traits!(Words, WordsIter, Text);
