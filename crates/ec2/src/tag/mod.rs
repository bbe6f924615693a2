//! Tags on whatever has tags, in one place: a table says which noun an id belongs to, by its prefix.
//!
//! A call names up to 1000 resources of any kinds and changes all of them or none. The limits are in `control::tag`.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>
//! Differs: only the owner of a public image or snapshot may tag it.

mod create;
mod delete;
mod describe;
mod kinds;

use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::noun::{Noun, find, hold};
use api_ec2::ops;
use control::tag::Tags;
use control::{Context, Result, Service, Tables, Touched, Txn};

/// How many resources one call may tag.
const MAX_RESOURCES: usize = 1000;

type Edit<'e> = &'e mut dyn FnMut(&mut Tags) -> Result<()>;

/// What tags are for one kind of resource.
struct Kind {
    /// Of its ids, without the dash.
    prefix: &'static str,
    resource_type: &'static str,
    touched: fn(&Context, &Tables, &str) -> Option<Touched>,
    /// Changes the tags of the resource with this id.
    edit: fn(&Context, &mut Txn<'_>, &str, Edit<'_>) -> Result<()>,
    /// The ids and tags of everything that the caller owns.
    list: for<'a> fn(&'a Context, &'a Tables) -> Vec<(String, &'a Tags)>,
}

impl Kind {
    const fn of<R: Noun>(prefix: &'static str) -> Self {
        Self {
            prefix,
            resource_type: R::RESOURCE_TYPE,
            touched: |ctx, tables, id| {
                let record = find::<R>(ctx, tables, id).ok()?;
                Some(Touched::new(record.arn(ctx)).tagged(record.tags()))
            },
            edit: |ctx, txn, id, edit| {
                let held = hold::<R>(ctx, txn, id)?;
                let mut record = R::clone(&held);
                if record.account() != ctx.account() {
                    return Err(not_yours(R::RESOURCE_TYPE, id));
                }
                edit(record.tags_mut())?;
                txn.put(&ctx.region, record);
                Ok(())
            },
            list: |ctx, tables| {
                let own = R::listed(ctx, tables).into_iter().filter(|r| r.account() == ctx.account());
                own.map(|r| (r.id().to_string(), r.tags())).collect()
            },
        }
    }

    /// The kind that `id` is of.
    fn by_id(id: &str) -> Result<&'static Self> {
        let prefix = id.rsplit_once('-').map_or("", |(prefix, _)| prefix);
        kinds::KINDS
            .iter()
            .find(|kind| kind.prefix == prefix)
            .ok_or_else(|| client("InvalidID", format!("The ID '{}' is not valid", shortened(id))))
    }
}

fn shortened(id: &str) -> String {
    id.chars().take(64).collect()
}

fn not_yours(resource_type: &str, id: &str) -> wire::ApiError {
    client("AuthFailure", format!("Not authorized for {resource_type}:{id}"))
}

/// Changes the tags of all these resources.
fn edit_all(ctx: &Context, txn: &mut Txn<'_>, ids: &[String], edit: Edit<'_>) -> Result<()> {
    if ids.is_empty() {
        return Err(missing_parameter("resourceIdSet"));
    }
    if ids.len() > MAX_RESOURCES {
        return Err(invalid_parameter_value(format!("A request may name up to {MAX_RESOURCES} resources.")));
    }
    let kinds = ids.iter().map(|id| Kind::by_id(id)).collect::<Result<Vec<_>>>()?;
    for (kind, id) in kinds.into_iter().zip(ids) {
        (kind.edit)(ctx, txn, id, &mut *edit)?;
    }
    Ok(())
}

fn touched(ctx: &Context, tables: &Tables, ids: &[String]) -> Vec<Touched> {
    ids.iter().filter_map(|id| (Kind::by_id(id).ok()?.touched)(ctx, tables, id)).collect()
}

pub fn register(service: &mut Service) {
    service
        .write(ops::CreateTags, |ctx, r, tables| touched(ctx, tables, &r.resources), create::create)
        .write(ops::DeleteTags, |ctx, r, tables| touched(ctx, tables, &r.resources), delete::delete)
        .read(ops::DescribeTags, |_, _, _| Touched::anything(), describe::describe);
}
