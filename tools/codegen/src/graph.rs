//! What shapes reach: which are used at all, which only ever come in, which contain themselves.

use std::collections::{BTreeSet, HashSet};

use crate::model::{Kind, Model, Shape};

pub struct Graph {
    /// Shapes that an input or an output reaches.
    pub used: BTreeSet<String>,
    /// Shapes that no output reaches: their required members are plain, not optional.
    pub input_only: HashSet<String>,
    /// Structures that hold themselves by value through `(structure, member)`: that member is boxed.
    pub boxed: HashSet<(String, String)>,
}

impl Graph {
    pub fn of(model: &Model) -> Result<Self, String> {
        let roots = |output: bool| {
            model.operations.iter().filter_map(move |operation| {
                let side = if output { &operation.output } else { &operation.input };
                side.as_ref().map(|reference| reference.shape.as_str())
            })
        };
        let inputs = reach(model, roots(false), false)?;
        let outputs = reach(model, roots(true), false)?;
        let input_only = inputs.difference(&outputs).cloned().collect();
        let used: BTreeSet<String> = inputs.union(&outputs).cloned().collect();
        let mut boxed = HashSet::new();
        for name in &used {
            let shape = model.shape(name)?;
            for member in &shape.members {
                if shape.kind == Kind::Structure
                    && model.shape(&member.shape)?.kind == Kind::Structure
                    && reach(model, std::iter::once(member.shape.as_str()), true)?.contains(name)
                {
                    boxed.insert((name.clone(), member.name.clone()));
                }
            }
        }
        Ok(Self { used, input_only, boxed })
    }
}

/// All shapes from `roots` on; `by_value` does not step into lists and maps.
fn reach<'a>(
    model: &'a Model,
    roots: impl Iterator<Item = &'a str>,
    by_value: bool,
) -> Result<BTreeSet<String>, String> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = roots.collect();
    while let Some(name) = open.pop() {
        if seen.insert(name.to_owned()) {
            let shape = model.shape(name)?;
            if !by_value || shape.kind == Kind::Structure {
                open.extend(parts(shape));
            }
        }
    }
    Ok(seen)
}

fn parts(shape: &Shape) -> impl Iterator<Item = &str> {
    let held = [&shape.member, &shape.key, &shape.value].into_iter().flatten();
    shape.members.iter().chain(held).map(|reference| reference.shape.as_str())
}
