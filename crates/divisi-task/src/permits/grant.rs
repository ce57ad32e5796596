//! Permits that somebody has.

use std::fmt;
use std::mem;
use std::ptr;

use super::sealed::{Sealed, Token};
use super::{Refused, Source, add_saturating};
use crate::stable::Stable;

/// Permits that somebody has. Dropping it gives them back.
#[must_use = "dropping it gives the permits back at once"]
pub struct Grant<H: Stable>
where
    H::Target: Source,
{
    source: H,
    permits: usize,
}

impl<H: Stable> Grant<H>
where
    H::Target: Source,
{
    /// Permits that were taken out of the source's word, or granted.
    #[inline]
    pub(super) fn new(source: H, permits: usize) -> Self {
        Self { source, permits }
    }

    /// Takes permits if they are there and nobody waits.
    ///
    /// # Errors
    ///
    /// There are too few, others wait for them, or the source was closed.
    #[inline]
    pub fn try_acquire(source: H, permits: usize) -> Result<Self, Refused> {
        source.permits(Token(())).0.take(permits)?;
        Ok(Self::new(source, permits))
    }

    /// How many.
    #[inline]
    pub fn permits(&self) -> usize {
        self.permits
    }

    /// What they are from.
    #[inline]
    pub fn source(&self) -> &H {
        &self.source
    }

    /// Never gives them back.
    pub fn forget(mut self) {
        self.permits = 0;
    }

    /// Splits that many off; nothing if there are fewer.
    pub fn split(&mut self, permits: usize) -> Option<Self> {
        self.permits = self.permits.checked_sub(permits)?;
        Some(Self::new(self.source.clone(), permits))
    }

    /// Adds another grant to this one.
    ///
    /// # Panics
    ///
    /// If it is from another source.
    pub fn merge(&mut self, mut other: Self) {
        assert!(
            ptr::eq(
                self.source.permits(Token(())),
                other.source.permits(Token(()))
            ),
            "permits of different semaphores cannot be merged"
        );
        let more = mem::take(&mut other.permits);
        self.permits = self.permits.saturating_add(more);
    }
}

impl<H: Stable> Drop for Grant<H>
where
    H::Target: Source,
{
    #[inline]
    fn drop(&mut self) {
        if self.permits != 0 {
            self.source
                .permits(Token(()))
                .0
                .release(self.permits, add_saturating);
        }
    }
}

impl<H: Stable> fmt::Debug for Grant<H>
where
    H::Target: Source,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grant").field(&self.permits).finish()
    }
}
