//! A short list of fixed capacity: there is no allocator here.

/// At most `N` values, in the order in which they came.
#[derive(Clone, Copy)]
pub(crate) struct Few<T: Copy, const N: usize> {
    values: [T; N],
    used: usize,
}

impl<T: Copy, const N: usize> Few<T, N> {
    /// An empty list; `filler` stands where nothing is.
    pub(crate) const fn new(filler: T) -> Self {
        Self { values: [filler; N], used: 0 }
    }

    /// Adds a value; false when there is no room.
    pub(crate) fn push(&mut self, value: T) -> bool {
        let Some(slot) = self.values.get_mut(self.used) else { return false };
        *slot = value;
        self.used += 1;
        true
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        self.values.get(..self.used).unwrap_or_default()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The value that came last.
    pub(crate) fn last_mut(&mut self) -> Option<&mut T> {
        self.values.get_mut(self.used.checked_sub(1)?)
    }
}
