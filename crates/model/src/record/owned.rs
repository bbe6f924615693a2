//! What every noun that is an account's has: its owner, and tags.

use super::Tags;
use crate::AccountId;

/// A record that belongs to an account and can be tagged.
pub trait Owned {
    fn account(&self) -> AccountId;
    fn tags(&self) -> &Tags;
    fn tags_mut(&mut self) -> &mut Tags;
}

/// Implements [`Owned`] for a record with a field `tags`, whose owner is in the field `account` or in the one that is named.
macro_rules! owned {
    ($record:ident) => {
        owned!($record, account);
    };
    ($record:ident, $($account:ident).+) => {
        impl $crate::record::Owned for $record {
            fn account(&self) -> $crate::AccountId {
                self.$($account).+
            }

            fn tags(&self) -> &$crate::record::Tags {
                &self.tags
            }

            fn tags_mut(&mut self) -> &mut $crate::record::Tags {
                &mut self.tags
            }
        }
    };
}
