//! Reads a target's bytes as decisions.

/// What is left of the bytes; when nothing is left, every answer is the first one.
pub(super) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// An index into something of this length; 0 if it is empty.
    pub(super) fn index(&mut self, len: usize) -> usize {
        let number = if len > 256 { usize::from(self.number()) } else { usize::from(self.byte()) };
        number.checked_rem(len).unwrap_or_default()
    }

    pub(super) fn pick<'b, T>(&mut self, from: &'b [T]) -> Option<&'b T> {
        from.get(self.index(from.len()))
    }

    /// As many bytes as the next byte says.
    pub(super) fn chunk(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte()).min(self.0.len());
        let (chunk, rest) = self.0.split_at(len);
        self.0 = rest;
        chunk
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
