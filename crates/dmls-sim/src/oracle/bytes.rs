//! A reader of TLS presentation language, of the oracle's own: it shares nothing with the code that it judges.

/// A forward-only reader; every step gives `None` where the bytes end too early.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// A big-endian number of `count` bytes.
    pub(super) fn number(&mut self, count: usize) -> Option<u64> {
        Some(self.take(count)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// `opaque<V>`, RFC 9420 §2.1.2.
    pub(super) fn vector(&mut self) -> Option<&'a [u8]> {
        let first = self.number(1)?;
        let length = match first >> 6 {
            0 => first,
            1 => (first & 0x3f) << 8 | self.number(1)?,
            2 => (first & 0x3f) << 24 | self.number(3)?,
            _ => return None,
        };
        self.take(usize::try_from(length).ok()?)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.vector()?.to_vec()).ok()
    }

    pub(super) fn id(&mut self) -> Option<[u8; 32]> {
        self.take(32)?.try_into().ok()
    }

    pub(super) fn skip_vectors(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.vector().map(drop))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
