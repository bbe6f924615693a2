//! Values by reflection: reading and writing any member of any shape without knowing its type.
//!
//! Invariant: the kind of a value agrees with the [`crate::Target`] in its shape; both come from the same generator.
//! A codec reads with [`Value::view`] (absent is a value of its own) and writes through [`Value::slot`], which creates
//! what was absent, so it is called only once something is there to write.

use std::collections::BTreeMap;

use crate::{Blob, StructShape, Timestamp};

/// Anything that a member, a list item or a map value can hold.
pub trait Value {
    fn view(&self) -> ValueRef<'_>;
    /// A place to write to. An absent optional becomes its default first.
    fn slot(&mut self) -> ValueMut<'_>;
}

/// A value seen for reading.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    Absent,
    Boolean(bool),
    Integer(i64),
    Float(f32),
    Double(f64),
    Text(&'a str),
    Timestamp(Timestamp),
    Blob(&'a Blob),
    Structure(&'a dyn Structure),
    List(&'a dyn List),
    Map(&'a dyn Map),
}

/// A value seen for writing.
pub enum ValueMut<'a> {
    Boolean(&'a mut bool),
    Integer(&'a mut i32),
    Long(&'a mut i64),
    Float(&'a mut f32),
    Double(&'a mut f64),
    Text(&'a mut dyn Text),
    Timestamp(&'a mut Timestamp),
    Blob(&'a mut Blob),
    Structure(&'a mut dyn Structure),
    List(&'a mut dyn List),
    Map(&'a mut dyn Map),
}

/// A structure: members by index, in the order of its shape.
pub trait Structure {
    fn shape(&self) -> &'static StructShape;
    fn member(&self, index: usize) -> &dyn Value;
    fn member_mut(&mut self, index: usize) -> &mut dyn Value;
}

/// A string or an open enum.
pub trait Text {
    fn as_str(&self) -> &str;
    fn set(&mut self, text: &str);
}

/// A list.
pub trait List {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn item(&self, index: usize) -> &dyn Value;
    /// Appends a default item and returns it for writing.
    fn push_item(&mut self) -> &mut dyn Value;
}

/// A map from strings, in the order of its keys.
pub trait Map {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn each(&self, visit: &mut dyn FnMut(&str, &dyn Value));
    fn value(&self, key: &str) -> Option<&dyn Value>;
    /// The value under `key`, made if absent; `None` when the key is already there.
    fn insert_key(&mut self, key: &str) -> Option<&mut dyn Value>;
}

/// The member called `name` in the service model; absent too where the shape has no such member.
///
/// This is how code above the services sees what many requests share (`DryRun`, `ClientToken`, `MaxResults`).
pub fn member<'a>(structure: &'a dyn Structure, name: &str) -> ValueRef<'a> {
    structure.shape().index_of(name).map_or(ValueRef::Absent, |index| structure.member(index).view())
}

/// The end of generated access by index.
///
/// # Panics
/// Always: an index comes from the shape of the same structure.
#[cold]
pub fn no_member(index: usize) -> ! {
    panic!("no member has index {index}: the shape belongs to another structure")
}

impl<T: Structure> Value for T {
    #[inline]
    fn view(&self) -> ValueRef<'_> {
        ValueRef::Structure(self)
    }
    #[inline]
    fn slot(&mut self) -> ValueMut<'_> {
        ValueMut::Structure(self)
    }
}

impl<T: Value + Default> Value for Option<T> {
    #[inline]
    fn view(&self) -> ValueRef<'_> {
        match self {
            Some(value) => value.view(),
            None => ValueRef::Absent,
        }
    }
    #[inline]
    fn slot(&mut self) -> ValueMut<'_> {
        self.get_or_insert_default().slot()
    }
}

/// Recursive shapes.
impl<T: Structure> Structure for Box<T> {
    #[inline]
    fn shape(&self) -> &'static StructShape {
        (**self).shape()
    }
    #[inline]
    fn member(&self, index: usize) -> &dyn Value {
        (**self).member(index)
    }
    #[inline]
    fn member_mut(&mut self, index: usize) -> &mut dyn Value {
        (**self).member_mut(index)
    }
}

impl<T: Value + Default> Value for Vec<T> {
    #[inline]
    fn view(&self) -> ValueRef<'_> {
        ValueRef::List(self)
    }
    #[inline]
    fn slot(&mut self) -> ValueMut<'_> {
        ValueMut::List(self)
    }
}

impl<T: Value + Default> List for Vec<T> {
    #[inline]
    fn len(&self) -> usize {
        self.len()
    }
    #[inline]
    fn item(&self, index: usize) -> &dyn Value {
        &self[index]
    }
    #[inline]
    fn push_item(&mut self) -> &mut dyn Value {
        self.push_mut(T::default())
    }
}

impl<T: Value + Default> Value for BTreeMap<String, T> {
    #[inline]
    fn view(&self) -> ValueRef<'_> {
        ValueRef::Map(self)
    }
    #[inline]
    fn slot(&mut self) -> ValueMut<'_> {
        ValueMut::Map(self)
    }
}

impl<T: Value + Default> Map for BTreeMap<String, T> {
    #[inline]
    fn len(&self) -> usize {
        self.len()
    }
    fn each(&self, visit: &mut dyn FnMut(&str, &dyn Value)) {
        for (key, value) in self {
            visit(key, value);
        }
    }
    fn value(&self, key: &str) -> Option<&dyn Value> {
        self.get(key).map(|value| value as _)
    }
    fn insert_key(&mut self, key: &str) -> Option<&mut dyn Value> {
        use std::collections::btree_map::Entry;
        match self.entry(key.to_owned()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(vacant) => Some(vacant.insert(T::default())),
        }
    }
}

macro_rules! scalar {
    ($type:ty, $view:ident, $slot:ident) => {
        impl Value for $type {
            fn view(&self) -> ValueRef<'_> {
                ValueRef::$view((*self).into())
            }
            fn slot(&mut self) -> ValueMut<'_> {
                ValueMut::$slot(self)
            }
        }
    };
}
scalar!(bool, Boolean, Boolean);
scalar!(i32, Integer, Integer);
scalar!(i64, Integer, Long);
scalar!(f32, Float, Float);
scalar!(f64, Double, Double);
scalar!(Timestamp, Timestamp, Timestamp);

impl Value for String {
    fn view(&self) -> ValueRef<'_> {
        ValueRef::Text(self)
    }
    fn slot(&mut self) -> ValueMut<'_> {
        ValueMut::Text(self)
    }
}

impl Text for String {
    fn as_str(&self) -> &str {
        self
    }
    fn set(&mut self, text: &str) {
        text.clone_into(self);
    }
}

impl Value for Blob {
    fn view(&self) -> ValueRef<'_> {
        ValueRef::Blob(self)
    }
    fn slot(&mut self) -> ValueMut<'_> {
        ValueMut::Blob(self)
    }
}
