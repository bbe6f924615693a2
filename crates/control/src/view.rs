//! The state of the cloud in memory: typed tables with indexes, kept current by the store's watch.
//!
//! Every read is answered from here; nothing scans the disk. The view follows commits in order, and a transaction
//! returns only once the view shows it, so a caller always sees its own writes.

use model::Region;
pub use model::record::{IndexValue, Record};
use parking_lot::{RwLock, RwLockReadGuard};
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr as _;
use std::sync::Arc;
use store::{Change, Event, Key, Revision, Store, WatchError};
use tokio::sync::{broadcast, watch};

/// The nouns that a cloud's services store.
#[derive(Default)]
pub struct Schema(Vec<Noun>);

struct Noun {
    name: &'static str,
    record: TypeId,
    table: fn() -> Box<dyn AnyTable>,
}

impl Schema {
    pub fn add<R: Record>(&mut self) -> &mut Self {
        debug_assert!(self.0.iter().all(|noun| noun.name != R::NOUN), "{} is there twice", R::NOUN);
        self.0.push(Noun {
            name: R::NOUN,
            record: TypeId::of::<R>(),
            table: || Box::new(Table::<R>::default()),
        });
        self
    }
}

struct Row<R> {
    record: Arc<R>,
    version: Revision,
}

struct Table<R: Record> {
    rows: BTreeMap<(Region, R::Id), Row<R>>,
    indexes: HashMap<(Region, &'static str, IndexValue), BTreeSet<R::Id>>,
}

impl<R: Record> Default for Table<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), indexes: HashMap::new() }
    }
}

impl<R: Record> Table<R> {
    fn remove(&mut self, region: &Region, id: &R::Id) {
        let Some(row) = self.rows.remove(&(region.clone(), id.clone())) else { return };
        for (name, value) in row.record.indexes() {
            let key = (region.clone(), name, value);
            if let Some(ids) = self.indexes.get_mut(&key) {
                ids.remove(id);
                if ids.is_empty() {
                    self.indexes.remove(&key);
                }
            }
        }
    }

    fn insert(&mut self, region: Region, id: R::Id, record: Arc<R>, version: Revision) {
        self.remove(&region, &id);
        for (name, value) in record.indexes() {
            self.indexes.entry((region.clone(), name, value)).or_default().insert(id.clone());
        }
        self.rows.insert((region, id), Row { record, version });
    }
}

/// A table whose record type is known only by its noun.
trait AnyTable: Send + Sync {
    fn apply(
        &mut self,
        region: Region,
        id: &str,
        value: Option<&[u8]>,
        version: Revision,
    ) -> Result<(), String>;
    fn as_any(&self) -> &dyn Any;
}

impl<R: Record> AnyTable for Table<R> {
    fn apply(
        &mut self,
        region: Region,
        id: &str,
        value: Option<&[u8]>,
        version: Revision,
    ) -> Result<(), String> {
        let id = R::Id::from_str(id).map_err(|_| format!("{id} is not the id of a {}", R::NOUN))?;
        match value {
            None => self.remove(&region, &id),
            Some(bytes) => {
                match serde_json::from_slice::<R>(bytes) {
                    Ok(record) => self.insert(region, id, Arc::new(record), version),
                    Err(error) => {
                        // What the row held before is no longer true.
                        self.remove(&region, &id);
                        return Err(error.to_string());
                    }
                }
            }
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Every table at one revision.
pub struct Tables {
    revision: Revision,
    tables: HashMap<&'static str, Box<dyn AnyTable>>,
    types: HashMap<TypeId, &'static str>,
    /// Claim keys (uniqueness) and what claimed them.
    claims: BTreeMap<Key, (Arc<str>, Revision)>,
    /// Keys whose latest value cannot be read. They are in no table, and no transaction may touch them.
    damaged: BTreeSet<Key>,
}

/// The noun under which claims are stored.
const CLAIM: &str = "claim";

impl Tables {
    fn new(schema: Schema) -> Self {
        let mut tables: HashMap<&'static str, Box<dyn AnyTable>> = HashMap::new();
        let mut types = HashMap::new();
        for noun in schema.0 {
            tables.insert(noun.name, (noun.table)());
            types.insert(noun.record, noun.name);
        }
        Self { revision: 0, tables, types, claims: BTreeMap::new(), damaged: BTreeSet::new() }
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    fn table<R: Record>(&self) -> &Table<R> {
        let noun = self.types.get(&TypeId::of::<R>()).copied().unwrap_or(R::NOUN);
        let table = self.tables.get(noun).and_then(|t| t.as_any().downcast_ref());
        table.unwrap_or_else(|| panic!("{} is in the schema of the service that asks for it", R::NOUN))
    }

    pub fn get<R: Record>(&self, region: &Region, id: &R::Id) -> Option<&Arc<R>> {
        self.table::<R>().rows.get(&(region.clone(), id.clone())).map(|row| &row.record)
    }

    pub(crate) fn versioned<R: Record>(&self, region: &Region, id: &R::Id) -> Option<(&Arc<R>, Revision)> {
        self.table::<R>().rows.get(&(region.clone(), id.clone())).map(|row| (&row.record, row.version))
    }

    /// Every record of a region, in the order of the ids.
    pub fn all<'a, R: Record>(&'a self, region: &'a Region) -> impl Iterator<Item = &'a Arc<R>> + 'a {
        // No id sorts below the first of the region; ids have no least value to start a range from.
        let rows = &self.table::<R>().rows;
        rows.iter()
            .skip_while(move |((r, _), _)| r < region)
            .take_while(move |((r, _), _)| r == region)
            .map(|(_, row)| &row.record)
    }

    /// Every record, whatever its region.
    pub fn everywhere<R: Record>(&self) -> impl Iterator<Item = (&Region, &Arc<R>)> {
        self.table::<R>().rows.iter().map(|((region, _), row)| (region, &row.record))
    }

    /// The records that `index` files under `value`, in the order of the ids.
    pub fn find<'a, R: Record>(
        &'a self,
        region: &'a Region,
        index: &'static str,
        value: impl Into<IndexValue>,
    ) -> impl DoubleEndedIterator<Item = &'a Arc<R>> + 'a {
        let table = self.table::<R>();
        let ids = table.indexes.get(&(region.clone(), index, value.into()));
        ids.into_iter()
            .flatten()
            .filter_map(move |id| table.rows.get(&(region.clone(), id.clone())).map(|row| &row.record))
    }

    /// Like [`Tables::find`], from the first id after `after`.
    pub fn find_after<'a, R: Record>(
        &'a self,
        region: &'a Region,
        index: &'static str,
        value: impl Into<IndexValue>,
        after: Option<&R::Id>,
    ) -> impl Iterator<Item = &'a Arc<R>> + 'a {
        use std::ops::Bound::{Excluded, Unbounded};
        let table = self.table::<R>();
        let start = after.map_or(Unbounded, |id| Excluded(id.clone()));
        let ids = table.indexes.get(&(region.clone(), index, value.into()));
        ids.into_iter()
            .flat_map(move |ids| ids.range((start.clone(), Unbounded)))
            .filter_map(move |id| table.rows.get(&(region.clone(), id.clone())).map(|row| &row.record))
    }

    /// Who holds the claim on `name`.
    pub fn claimed(&self, region: &Region, name: &str) -> Option<&str> {
        self.claims.get(&claim_key(region, name)?).map(|(owner, _)| &**owner)
    }

    pub(crate) fn claim_versioned(&self, key: &Key) -> Option<(&Arc<str>, Revision)> {
        self.claims.get(key).map(|(owner, version)| (owner, *version))
    }

    /// How many claims begin with `prefix`.
    pub fn count_claims(&self, region: &Region, prefix: &str) -> usize {
        let Some(start) = claim_key(region, prefix) else { return 0 };
        self.claims
            .range(start.clone()..)
            .take_while(|(key, _)| key.as_str().starts_with(start.as_str()))
            .count()
    }

    pub(crate) fn damaged(&self) -> impl Iterator<Item = &Key> {
        self.damaged.iter()
    }

    fn apply(&mut self, key: &Key, value: Option<&[u8]>, version: Revision) -> Option<ChangedKey> {
        let mut parts = key.as_str().splitn(3, '/');
        let (region, noun, id) = (parts.next()?, parts.next()?, parts.next()?);
        if noun == CLAIM {
            match value {
                Some(owner) => {
                    let owner: Arc<str> = String::from_utf8_lossy(owner).into();
                    self.claims.insert(key.clone(), (owner, version));
                }
                None => {
                    self.claims.remove(key);
                }
            }
            return None;
        }
        let region = Region::of_key(region)?;
        let (noun, table) =
            self.tables.iter_mut().find(|(known, _)| **known == noun).map(|(noun, table)| (*noun, table))?;
        match table.apply(region.clone(), id, value, version) {
            Ok(()) => {
                self.damaged.remove(key);
            }
            Err(reason) => {
                tracing::error!(
                    key = key.as_str(),
                    reason,
                    "a stored record cannot be read; it is left out of the view"
                );
                self.damaged.insert(key.clone());
            }
        }
        Some(ChangedKey { region, noun, id: id.into() })
    }
}

pub(crate) fn claim_key(region: &Region, name: &str) -> Option<Key> {
    Key::new(format!("{region}/{CLAIM}/{name}")).ok()
}

/// Names a record that has changed; nothing of its content, so that whoever hears of it reads the latest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangedKey {
    pub region: Region,
    pub noun: &'static str,
    pub id: Arc<str>,
}

/// The tables, and the news of their changes.
pub struct View {
    tables: RwLock<Tables>,
    revision: watch::Sender<Revision>,
    changes: broadcast::Sender<ChangedKey>,
}

impl View {
    /// Reads the whole store, then follows it in a task of its own until the store closes.
    pub async fn open(store: Arc<dyn Store>, schema: Schema) -> Result<Arc<Self>, store::ReadError> {
        let (revision, _) = watch::channel(0);
        let (changes, _) = broadcast::channel(16 * 1024);
        let view = Arc::new(Self { tables: RwLock::new(Tables::new(schema)), revision, changes });
        let scan = store.scan("").await?;
        view.load(&scan);
        tokio::spawn(follow(Arc::clone(&view), store, scan.revision));
        Ok(view)
    }

    /// The tables as they are now. Hold the guard for one computation, never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read()
    }

    /// Keys of records as they change, from now on. A receiver that lags must look at everything.
    pub fn changes(&self) -> broadcast::Receiver<ChangedKey> {
        self.changes.subscribe()
    }

    /// Waits until the view shows `revision`.
    pub async fn reached(&self, revision: Revision) {
        let mut news = self.revision.subscribe();
        // The sender lives as long as the view itself, so the channel cannot close here.
        let _ = news.wait_for(|seen| *seen >= revision).await;
    }

    fn load(&self, scan: &store::Scan) {
        let mut tables = self.tables.write();
        for (key, entry) in &scan.entries {
            tables.apply(key, Some(&entry.value), entry.version);
        }
        tables.revision = scan.revision;
        self.revision.send_replace(scan.revision);
    }

    fn apply(&self, event: &Event) {
        let mut changed = Vec::with_capacity(event.changes.len());
        {
            let mut tables = self.tables.write();
            for Change { key, value } in &*event.changes {
                changed.extend(tables.apply(key, value.as_deref(), event.revision));
            }
            tables.revision = event.revision;
        }
        self.revision.send_replace(event.revision);
        for key in changed {
            // Nobody listens: nobody needs to know.
            let _ = self.changes.send(key);
        }
    }
}

async fn follow(view: Arc<View>, store: Arc<dyn Store>, from: Revision) {
    let mut at = from;
    loop {
        let mut watch = match store.watch(at).await {
            Ok(watch) => watch,
            Err(WatchError::Closed) => return,
            Err(error @ WatchError::Unavailable { .. }) => {
                tracing::warn!(%error, at, "the store cannot be watched now");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                continue;
            }
            Err(error) => {
                // The view shares its process with the store's log: whoever lost the thread must start anew.
                tracing::error!(%error, at, "the view cannot follow the store");
                std::process::abort();
            }
        };
        loop {
            match watch.next().await {
                Ok(event) => {
                    view.apply(&event);
                    at = event.revision;
                }
                Err(WatchError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, at, "the watch broke; watching again");
                    break;
                }
            }
        }
    }
}
