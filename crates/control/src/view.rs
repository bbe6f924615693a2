//! The state of the cloud in memory: typed tables with indexes, kept current by the store's watch.
//!
//! Every read is answered from here; nothing scans the disk. The view follows commits in order, and a transaction
//! returns only once the view shows it, so a caller always sees its own writes.

use bytes::Bytes;
use model::Region;
pub use model::record::{IndexValue, Record};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
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

/// Records in the order of their ids.
type Filed<R> = BTreeMap<<R as Record>::Id, Arc<R>>;

/// The records of one region.
struct Rows<R: Record> {
    by_id: BTreeMap<R::Id, Row<R>>,
    /// The records that an index files under a value, at hand, so that a listing looks nothing up.
    indexes: HashMap<(&'static str, IndexValue), Filed<R>>,
}

impl<R: Record> Default for Rows<R> {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), indexes: HashMap::new() }
    }
}

impl<R: Record> Rows<R> {
    fn remove(&mut self, id: &R::Id) {
        let Some(row) = self.by_id.remove(id) else { return };
        for key in row.record.indexes() {
            if let Some(records) = self.indexes.get_mut(&key) {
                records.remove(id);
                if records.is_empty() {
                    self.indexes.remove(&key);
                }
            }
        }
    }

    fn insert(&mut self, id: R::Id, record: Arc<R>, version: Revision) {
        self.remove(&id);
        for key in record.indexes() {
            self.indexes.entry(key).or_default().insert(id.clone(), Arc::clone(&record));
        }
        self.by_id.insert(id, Row { record, version });
    }
}

struct Table<R: Record> {
    regions: BTreeMap<Region, Rows<R>>,
}

impl<R: Record> Default for Table<R> {
    fn default() -> Self {
        Self { regions: BTreeMap::new() }
    }
}

impl<R: Record> Table<R> {
    fn row(&self, region: &Region, id: &R::Id) -> Option<&Row<R>> {
        self.regions.get(region)?.by_id.get(id)
    }

    fn filed(
        &self,
        region: &Region,
        index: &'static str,
        value: IndexValue,
    ) -> Option<&BTreeMap<R::Id, Arc<R>>> {
        self.regions.get(region)?.indexes.get(&(index, value))
    }
}

/// A record whose type is known only by its noun.
pub(crate) type Shared = Arc<dyn Any + Send + Sync>;

/// A record's new content: its bytes, and the record itself when it was written in this process a moment ago.
struct Content<'a> {
    bytes: &'a [u8],
    own: Option<Shared>,
}

/// A table whose record type is known only by its noun.
trait AnyTable: Send + Sync {
    fn apply(
        &mut self,
        region: Region,
        id: &str,
        content: Option<Content<'_>>,
        version: Revision,
    ) -> Result<(), String>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<R: Record> AnyTable for Table<R> {
    fn apply(
        &mut self,
        region: Region,
        id: &str,
        content: Option<Content<'_>>,
        version: Revision,
    ) -> Result<(), String> {
        let id = R::Id::from_str(id).map_err(|_| format!("{id} is not the id of a {}", R::NOUN))?;
        let rows = self.regions.entry(region).or_default();
        let Some(Content { bytes, own }) = content else {
            rows.remove(&id);
            return Ok(());
        };
        let record = match own.and_then(|own| own.downcast::<R>().ok()) {
            Some(own) => own,
            None => match serde_json::from_slice(bytes) {
                Ok(record) => Arc::new(record),
                Err(error) => {
                    // What the row held before is no longer true.
                    rows.remove(&id);
                    return Err(error.to_string());
                }
            },
        };
        rows.insert(id, record, version);
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
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
    /// Where facts are shown.
    facts: BTreeSet<(&'static str, Region)>,
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
        Self {
            revision: 0,
            tables,
            types,
            claims: BTreeMap::new(),
            damaged: BTreeSet::new(),
            facts: BTreeSet::new(),
        }
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
        self.table::<R>().row(region, id).map(|row| &row.record)
    }

    pub(crate) fn versioned<R: Record>(&self, region: &Region, id: &R::Id) -> Option<(&Arc<R>, Revision)> {
        self.table::<R>().row(region, id).map(|row| (&row.record, row.version))
    }

    /// Every record of a region, in the order of the ids.
    pub fn all<'a, R: Record>(&'a self, region: &'a Region) -> impl Iterator<Item = &'a Arc<R>> + 'a {
        let rows = self.table::<R>().regions.get(region);
        rows.into_iter().flat_map(|rows| rows.by_id.values()).map(|row| &row.record)
    }

    /// The regions that have, or once had, records of this noun.
    pub fn regions<R: Record>(&self) -> impl Iterator<Item = &Region> {
        self.table::<R>().regions.keys()
    }

    /// Whether [`View::show_facts`] was called for this noun in this region.
    pub fn shows_facts<R: Record>(&self, region: &Region) -> bool {
        // Nothing is shown in most clouds: then nothing is copied for the question.
        !self.facts.is_empty() && self.facts.contains(&(R::NOUN, region.clone()))
    }

    fn show_facts<R: Record>(&mut self, region: &Region, facts: Vec<R>) {
        let Some(noun) = self.types.get(&TypeId::of::<R>()) else { return };
        let table = self.tables.get_mut(noun).and_then(|t| t.as_any_mut().downcast_mut::<Table<R>>());
        let Some(table) = table else { return };
        let rows = table.regions.entry(region.clone()).or_default();
        for fact in facts {
            let id = fact.id();
            if !rows.by_id.contains_key(&id) {
                rows.insert(id, Arc::new(fact), 0);
            }
        }
        self.facts.insert((R::NOUN, region.clone()));
    }

    /// Every record, whatever its region.
    pub fn everywhere<R: Record>(&self) -> impl Iterator<Item = (&Region, &Arc<R>)> {
        let regions = self.table::<R>().regions.iter();
        regions.flat_map(|(region, rows)| rows.by_id.values().map(move |row| (region, &row.record)))
    }

    /// The records that `index` files under `value`, in the order of the ids.
    pub fn find<'a, R: Record>(
        &'a self,
        region: &'a Region,
        index: &'static str,
        value: impl Into<IndexValue>,
    ) -> impl DoubleEndedIterator<Item = &'a Arc<R>> + 'a {
        let records = self.table::<R>().filed(region, index, value.into());
        records.into_iter().flat_map(BTreeMap::values)
    }

    /// How many records [`Tables::find`] finds.
    pub fn count<R: Record>(
        &self,
        region: &Region,
        index: &'static str,
        value: impl Into<IndexValue>,
    ) -> usize {
        self.table::<R>().filed(region, index, value.into()).map_or(0, BTreeMap::len)
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
        let start = after.map_or(Unbounded, |id| Excluded(id.clone()));
        let records = self.table::<R>().filed(region, index, value.into());
        records
            .into_iter()
            .flat_map(move |records| records.range((start.clone(), Unbounded)))
            .map(|(_, record)| record)
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

    fn apply(&mut self, key: &Key, content: Option<Content<'_>>, version: Revision) -> Option<ChangedKey> {
        let mut parts = key.as_str().splitn(3, '/');
        let (region, noun, id) = (parts.next()?, parts.next()?, parts.next()?);
        if noun == CLAIM {
            match content {
                Some(owner) => {
                    let owner: Arc<str> = String::from_utf8_lossy(owner.bytes).into();
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
        match table.apply(region.clone(), id, content, version) {
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
    /// Records on their way through the store, which need not be decoded when the watch brings them back.
    underway: Mutex<HashMap<Key, Underway>>,
}

/// A record that a transaction of this process has written, with its encoding.
#[derive(Clone)]
pub(crate) struct Underway {
    pub bytes: Bytes,
    pub record: Shared,
}

impl Underway {
    /// Whether these bytes are the very ones that were written, not only equal to them.
    fn is(&self, bytes: &Bytes) -> bool {
        self.bytes.as_ptr() == bytes.as_ptr() && self.bytes.len() == bytes.len()
    }
}

/// Holds what a commit writes for the view. What of it did not come back by its end never will.
pub(crate) struct Expected<'a> {
    view: &'a View,
    written: Vec<(Key, Underway)>,
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        let mut underway = self.view.underway.lock();
        for (key, own) in &self.written {
            // Another transaction may have written the key since.
            if underway.get(key).is_some_and(|left| left.is(&own.bytes)) {
                underway.remove(key);
            }
        }
    }
}

impl View {
    /// Reads the whole store, then follows it in a task of its own until the store closes.
    pub async fn open(store: Arc<dyn Store>, schema: Schema) -> Result<Arc<Self>, store::ReadError> {
        let (revision, _) = watch::channel(0);
        let (changes, _) = broadcast::channel(16 * 1024);
        let view = Arc::new(Self {
            tables: RwLock::new(Tables::new(schema)),
            revision,
            changes,
            underway: Mutex::default(),
        });
        let scan = store.scan("").await?;
        view.load(&scan);
        tokio::spawn(follow(Arc::clone(&view), store, scan.revision));
        Ok(view)
    }

    /// The tables as they are now. Hold the guard for one computation, never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read()
    }

    /// Shows records that are in no store because they are the same everywhere. They stand at version 0, so a
    /// transaction that reads one commits only while nothing is stored under its id; what is stored stands in its place.
    pub fn show_facts<R: Record>(&self, region: &Region, facts: Vec<R>) {
        self.tables.write().show_facts(region, facts);
    }

    /// Facts that were covered by a record stand again once they are shown anew; this lets whoever shows them know.
    pub(crate) fn forget_facts(&self) {
        self.tables.write().facts.clear();
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

    /// Says what is about to be committed, until the commit has come back or the guard is dropped.
    pub(crate) fn expect(&self, written: Vec<(Key, Underway)>) -> Expected<'_> {
        self.underway.lock().extend(written.iter().cloned());
        Expected { view: self, written }
    }

    fn arrived(&self, key: &Key, bytes: &Bytes) -> Option<Shared> {
        let mut underway = self.underway.lock();
        underway
            .get(key)
            .is_some_and(|own| own.is(bytes))
            .then(|| underway.remove(key))?
            .map(|own| own.record)
    }

    fn load(&self, scan: &store::Scan) {
        let mut tables = self.tables.write();
        for (key, entry) in &scan.entries {
            tables.apply(key, Some(Content { bytes: &entry.value, own: None }), entry.version);
        }
        tables.revision = scan.revision;
        self.revision.send_replace(scan.revision);
    }

    fn apply(&self, event: &Event) {
        let mut changed = Vec::with_capacity(event.changes.len());
        {
            let mut tables = self.tables.write();
            for Change { key, value } in &*event.changes {
                let content = value.as_ref().map(|bytes| Content { bytes, own: self.arrived(key, bytes) });
                changed.extend(tables.apply(key, content, event.revision));
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
