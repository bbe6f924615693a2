//! The state of the cloud in memory: typed tables with indexes, kept current by the store's watch.
//!
//! Every read is answered from here; nothing scans the disk. The view follows commits in order, and a transaction
//! returns only once the view shows it, so a caller always sees its own writes.

use bytes::Bytes;
use model::Region;
use model::few::Few;
pub use model::record::{IndexValue, Record};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
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

/// A type's id is as good as random already, and every read looks one up.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
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
type Filed<R> = Few<<R as Record>::Id, Arc<R>>;

/// The records of one region.
struct Rows<R: Record> {
    by_id: BTreeMap<R::Id, Row<R>>,
    /// By index and value: the records that it files there, at hand, so that a listing looks nothing up.
    indexes: HashMap<&'static str, HashMap<IndexValue, Filed<R>>>,
    /// How often a record came, went or was replaced.
    changes: u64,
}

impl<R: Record> Default for Rows<R> {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), indexes: HashMap::new(), changes: 0 }
    }
}

impl<R: Record> Rows<R> {
    fn remove(&mut self, id: &R::Id) {
        let Some(row) = self.by_id.remove(id) else { return };
        self.changes += 1;
        for (index, value) in row.record.indexes() {
            self.unfile(index, &value, id);
        }
    }

    fn unfile(&mut self, index: &'static str, value: &IndexValue, id: &R::Id) {
        let Some(values) = self.indexes.get_mut(index) else { return };
        if let Some(records) = values.get_mut(value) {
            records.remove(id);
            if records.is_empty() {
                values.remove(value);
            }
        }
    }

    fn insert(&mut self, id: R::Id, record: Arc<R>, version: Revision) {
        self.changes += 1;
        let filed = record.indexes();
        // Most changes of a record leave it where it was filed: there it is replaced.
        let earlier = self.by_id.get(&id).map(|row| row.record.indexes()).unwrap_or_default();
        for (index, value) in earlier.into_iter().filter(|earlier| !filed.contains(earlier)) {
            self.unfile(index, &value, &id);
        }
        for (index, value) in filed {
            let values = self.indexes.entry(index).or_default();
            values.entry(value).or_default().insert(id.clone(), Arc::clone(&record));
        }
        self.by_id.insert(id, Row { record, version });
    }
}

struct Table<R: Record> {
    /// In the order of their names. They are a handful.
    regions: Vec<(Region, Rows<R>)>,
}

impl<R: Record> Default for Table<R> {
    fn default() -> Self {
        Self { regions: Vec::new() }
    }
}

impl<R: Record> Table<R> {
    /// Where a region is, or where it would be.
    fn place(&self, region: &Region) -> Result<usize, usize> {
        self.regions.binary_search_by(|(known, _)| known.cmp(region))
    }

    fn rows(&self, region: &Region) -> Option<&Rows<R>> {
        self.place(region).ok().map(|at| &self.regions[at].1)
    }

    fn rows_mut(&mut self, region: Region) -> &mut Rows<R> {
        let at = self.place(&region).unwrap_or_else(|at| {
            self.regions.insert(at, (region, Rows::default()));
            at
        });
        &mut self.regions[at].1
    }

    fn row(&self, region: &Region, id: &R::Id) -> Option<&Row<R>> {
        self.rows(region)?.by_id.get(id)
    }

    fn filed(&self, region: &Region, index: &'static str, value: IndexValue) -> Option<&Filed<R>> {
        self.rows(region)?.indexes.get(index)?.get(&value)
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
        let rows = self.rows_mut(region);
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
    tables: HashMap<TypeId, Box<dyn AnyTable>, BuildHasherDefault<AsIs>>,
    nouns: HashMap<&'static str, TypeId>,
    /// Claim keys (uniqueness) and what claimed them.
    claims: HashMap<Key, (Arc<str>, Revision)>,
    /// How many claims there are under each folder: whatever of a key ends with a slash.
    folders: HashMap<Box<str>, usize>,
    /// Keys whose latest value cannot be read. They are in no table, and no transaction may touch them.
    damaged: BTreeSet<Key>,
    /// Where facts are shown.
    facts: BTreeSet<(&'static str, Region)>,
}

/// The noun under which claims are stored.
const CLAIM: &str = "claim";

impl Tables {
    fn new(schema: Schema) -> Self {
        let nouns = schema.0.iter().map(|noun| (noun.name, noun.record)).collect();
        let tables = schema.0.iter().map(|noun| (noun.record, (noun.table)())).collect();
        Self {
            revision: 0,
            tables,
            nouns,
            claims: HashMap::new(),
            folders: HashMap::new(),
            damaged: BTreeSet::new(),
            facts: BTreeSet::new(),
        }
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    fn table<R: Record>(&self) -> &Table<R> {
        let table = self.tables.get(&TypeId::of::<R>()).and_then(|t| t.as_any().downcast_ref());
        table.unwrap_or_else(|| panic!("{} is in the schema of the service that asks for it", R::NOUN))
    }

    pub fn get<R: Record>(&self, region: &Region, id: &R::Id) -> Option<&Arc<R>> {
        self.table::<R>().row(region, id).map(|row| &row.record)
    }

    /// A number that grows whenever a record of this noun comes, goes or is replaced in this region: while it is the same,
    /// so are the records. Means something within this process alone.
    pub fn changes<R: Record>(&self, region: &Region) -> u64 {
        self.table::<R>().rows(region).map_or(0, |rows| rows.changes)
    }

    pub(crate) fn versioned<R: Record>(&self, region: &Region, id: &R::Id) -> Option<(&Arc<R>, Revision)> {
        self.table::<R>().row(region, id).map(|row| (&row.record, row.version))
    }

    /// Every record of a region, in the order of the ids.
    pub fn all<'a, R: Record>(&'a self, region: &'a Region) -> impl Iterator<Item = &'a Arc<R>> + 'a {
        let rows = self.table::<R>().rows(region);
        rows.into_iter().flat_map(|rows| rows.by_id.values()).map(|row| &row.record)
    }

    /// The regions that have, or once had, records of this noun.
    pub fn regions<R: Record>(&self) -> impl Iterator<Item = &Region> {
        self.table::<R>().regions.iter().map(|(region, _)| region)
    }

    /// Whether [`View::show_facts`] was called for this noun in this region.
    pub fn shows_facts<R: Record>(&self, region: &Region) -> bool {
        // Nothing is shown in most clouds: then nothing is copied for the question.
        !self.facts.is_empty() && self.facts.contains(&(R::NOUN, region.clone()))
    }

    fn show_facts<R: Record>(&mut self, region: &Region, facts: Vec<R>) {
        let table = self.tables.get_mut(&TypeId::of::<R>());
        let table = table.and_then(|t| t.as_any_mut().downcast_mut::<Table<R>>());
        let Some(table) = table else { return };
        let rows = table.rows_mut(region.clone());
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
        records.into_iter().flat_map(Few::values)
    }

    /// How many records [`Tables::find`] finds.
    pub fn count<R: Record>(
        &self,
        region: &Region,
        index: &'static str,
        value: impl Into<IndexValue>,
    ) -> usize {
        self.table::<R>().filed(region, index, value.into()).map_or(0, Few::len)
    }

    /// Every value under which `index` files records, in no order, with the number of them.
    pub fn counts<'a, R: Record>(
        &'a self,
        region: &Region,
        index: &'static str,
    ) -> impl Iterator<Item = (&'a IndexValue, usize)> {
        let values = self.table::<R>().rows(region).and_then(|rows| rows.indexes.get(index));
        values.into_iter().flatten().map(|(value, records)| (value, records.len()))
    }

    /// Who holds the claim on `name`.
    pub fn claimed(&self, region: &Region, name: &str) -> Option<&str> {
        self.claims.get(claim_text(region, name).as_str()).map(|(owner, _)| &**owner)
    }

    /// Whether there is a claim of this whole text.
    pub(crate) fn is_claimed(&self, text: &str) -> bool {
        self.claims.contains_key(text)
    }

    pub(crate) fn claim_versioned(&self, key: &Key) -> Option<(&Arc<str>, Revision)> {
        self.claims.get(key).map(|(owner, version)| (owner, *version))
    }

    /// How many claims there are under `folder`, such as `ip/SUBNET/`, which must end with a slash.
    pub fn count_claims(&self, region: &Region, folder: &str) -> usize {
        debug_assert!(folder.ends_with('/'), "{folder} is a folder");
        self.folders.get(claim_text(region, folder).as_str()).copied().unwrap_or_default()
    }

    pub(crate) fn damaged(&self) -> impl Iterator<Item = &Key> {
        self.damaged.iter()
    }

    fn apply_claim(&mut self, key: &Key, owner: Option<Arc<str>>, version: Revision) {
        if let Some(owner) = owner {
            if self.claims.insert(key.clone(), (owner, version)).is_some() {
                return;
            }
            for folder in folders(key) {
                match self.folders.get_mut(folder) {
                    Some(count) => *count += 1,
                    None => drop(self.folders.insert(folder.into(), 1)),
                }
            }
        } else if self.claims.remove(key).is_some() {
            for folder in folders(key) {
                if let Some(count) = self.folders.get_mut(folder) {
                    *count -= 1;
                    if *count == 0 {
                        self.folders.remove(folder);
                    }
                }
            }
        }
    }

    fn apply(&mut self, key: &Key, content: Option<Content<'_>>, version: Revision) -> Option<ChangedKey> {
        let mut parts = key.as_str().splitn(3, '/');
        let (region, noun, id) = (parts.next()?, parts.next()?, parts.next()?);
        if noun == CLAIM {
            self.apply_claim(key, content.map(|owner| String::from_utf8_lossy(owner.bytes).into()), version);
            return None;
        }
        let region = Region::of_key(region)?;
        let (noun, record) = self.nouns.get_key_value(noun)?;
        let (noun, table) = (*noun, self.tables.get_mut(record)?);
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
    Key::new(claim_text(region, name)).ok()
}

/// Whatever of a claim's key ends with a slash, from `REGION/claim/…/` on.
fn folders(key: &Key) -> impl Iterator<Item = &str> {
    let key = key.as_str();
    key.match_indices('/').skip(2).map(move |(at, _)| &key[..=at])
}

pub(crate) fn claim_text(region: &Region, name: &str) -> String {
    [region.as_str(), CLAIM, name].join("/")
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
        for key in changed {
            // Nobody listens: nobody needs to know.
            let _ = self.changes.send(key);
        }
        // Whoever waits for this is woken last, and so runs first: the runtime goes on with the newest task.
        self.revision.send_replace(event.revision);
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
