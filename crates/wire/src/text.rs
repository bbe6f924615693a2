//! Open enums, and the macros that generated code calls.
//!
//! The macros declare trait implementations only, so that a change of a trait needs no new generation.
//! Everything they declare is `#[inline]`: a crate compiles what it uses of a service, not all of it.

/// A string with values that the model knows. Other values are kept as they came: AWS adds values faster than models.
pub trait OpenEnum: for<'a> From<&'a str> {
    /// The values of the model, in its order.
    const VALUES: &'static [&'static str];

    fn text(&self) -> &str;

    /// Whether the model knows this value. Operations refuse those that it does not.
    fn is_known(&self) -> bool {
        Self::VALUES.contains(&self.text())
    }
}

impl<T: OpenEnum> crate::Text for T {
    fn as_str(&self) -> &str {
        self.text()
    }
    fn set(&mut self, text: &str) {
        *self = Self::from(text);
    }
}

/// `structure!(Type, SHAPE; 0 first: None, 1 second: Default::default())`: reflection, and by it `Clone`, `Debug` (secrets
/// masked, absent members left out) and `PartialEq`. Derives would cost four times the check time of the whole crate.
#[macro_export]
macro_rules! structure {
    ($type:ident, $shape:ident; $($index:literal $field:ident: $initial:expr),*) => {
        impl $crate::Structure for $type {
            #[inline]
            fn shape(&self) -> &'static $crate::StructShape {
                &$shape
            }
            #[inline]
            fn member(&self, index: usize) -> &dyn $crate::Value {
                match index {
                    $($index => &self.$field,)*
                    _ => $crate::no_member(index),
                }
            }
            #[inline]
            fn member_mut(&mut self, index: usize) -> &mut dyn $crate::Value {
                match index {
                    $($index => &mut self.$field,)*
                    _ => $crate::no_member(index),
                }
            }
        }
        impl ::core::default::Default for $type {
            #[inline]
            fn default() -> Self {
                Self { $($field: $initial),* }
            }
        }
        impl ::core::clone::Clone for $type {
            #[inline]
            fn clone(&self) -> Self {
                $crate::clone_structure(self)
            }
        }
        impl ::core::cmp::PartialEq for $type {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                $crate::same_structures(self, other)
            }
        }
        impl ::core::fmt::Debug for $type {
            #[inline]
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                $crate::debug_structure(self, f)
            }
        }
    };
}

/// `open_enum!(Type; First = "first", Second = "second")`: an enum with the variant `Other(Box<str>)` for the rest.
#[macro_export]
macro_rules! open_enum {
    ($type:ident; $($variant:ident = $value:literal),* $(,)?) => {
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $type {
            $($variant,)*
            /// A value that the model does not know.
            Other(::std::boxed::Box<str>),
        }
        impl $type {
            #[inline]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $value,)*
                    Self::Other(text) => text,
                }
            }
        }
        impl ::core::convert::From<&str> for $type {
            #[inline]
            fn from(text: &str) -> Self {
                match text {
                    $($value => Self::$variant,)*
                    _ => Self::Other(text.into()),
                }
            }
        }
        $crate::open_enum_traits!($type; $($value),*);
        impl ::core::default::Default for $type {
            #[inline]
            fn default() -> Self {
                Self::Other(::std::boxed::Box::default())
            }
        }
    };
}

/// `open_values!(Type; FIRST = "first")`: the same for enums of very many values: a string with named constants.
#[macro_export]
macro_rules! open_values {
    ($type:ident; $($constant:ident = $value:literal),* $(,)?) => {
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $type(::std::borrow::Cow<'static, str>);
        impl $type {
            $(pub const $constant: Self = Self(::std::borrow::Cow::Borrowed($value));)*
            #[inline]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl ::core::convert::From<&str> for $type {
            #[inline]
            fn from(text: &str) -> Self {
                Self(::std::borrow::Cow::Owned(text.to_owned()))
            }
        }
        $crate::open_enum_traits!($type; $($value),*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! open_enum_traits {
    ($type:ident; $($value:literal),*) => {
        impl $crate::OpenEnum for $type {
            const VALUES: &'static [&'static str] = &[$($value),*];
            #[inline]
            fn text(&self) -> &str {
                self.as_str()
            }
        }
        impl $crate::Value for $type {
            #[inline]
            fn view(&self) -> $crate::ValueRef<'_> {
                $crate::ValueRef::Text(self.as_str())
            }
            #[inline]
            fn slot(&mut self) -> $crate::ValueMut<'_> {
                $crate::ValueMut::Text(self)
            }
        }
    };
}

/// `operation!(Marker, Input, Output, OperationShape { … })`: the marker type of an operation.
#[macro_export]
macro_rules! operation {
    ($marker:ident, $input:ty, $output:ty, $shape:expr) => {
        pub struct $marker;
        impl $crate::Operation for $marker {
            type Input = $input;
            type Output = $output;
            const SHAPE: &'static $crate::OperationShape = {
                static SHAPE: $crate::OperationShape = $shape;
                &SHAPE
            };
        }
    };
}
