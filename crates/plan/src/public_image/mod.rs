//! The well-known public images of AWS: what `DescribeImages` finds of Amazon, Canonical, Debian, Red Hat, SUSE and
//! Microsoft in every region.
//!
//! Facts about images, not images: a simulated host starts any of them, a real one only those that somebody imported. They
//! are rendered when a region is first used and stored nowhere. Ids follow from region and name, so they are the same in
//! every cloud, and differ from AWS's own.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/finding-an-ami.html>
//! Differs: a frozen choice of releases, of which the newest of each kind is not deprecated before 2030 (Amazon's are after
//! 90 days, others' after two years); snapshots that nobody sees; no ephemeral devices.

mod catalogue;

use catalogue::{SERIES, Series, fill};
use model::host::Architecture;
use model::record::Tags;
use model::record::image::{BootMode, Image, ImageDevice, Registration, Traits};
use model::{AccountId, GiB, ImageId, Region, SnapshotId, Timestamp};

/// What a simulated machine boots, and what a launch of any image starts from on a simulated host.
pub const SIMULATED: &str = "simulated";

/// Every public image of a region. `disk` names what hosts start them from; without it they cannot be launched.
pub fn all(region: &Region, disk: Option<&str>) -> Vec<Image> {
    let mut images = Vec::new();
    for (rank, series) in SERIES.iter().enumerate() {
        for (age, release) in series.releases.iter().enumerate() {
            for architecture in series.architectures {
                images.push(image(region, disk, series, rank, age, release, *architecture));
            }
        }
    }
    images
}

/// The name under which a host keeps a copy of a public image: the last part of its own, which no folder needs.
pub fn short_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The public image that a host keeps under this name.
pub fn by_short_name(region: &Region, name: &str) -> Option<Image> {
    all(region, None).into_iter().find(|image| short_name(&image.name) == name)
}

/// The image that comes with a simulated host, owned by `owner`.
pub fn simulated(region: &Region, owner: AccountId) -> Image {
    let name = "nube/nano-simulated";
    Image {
        image: own_id(hash(region, name)),
        owner,
        owner_alias: Some("amazon".into()),
        name: name.into(),
        description: Some("What simulated machines boot".into()),
        architecture: Architecture::X86_64,
        root_device: "/dev/xvda".into(),
        devices: vec![device("/dev/xvda", GiB(1), "gp3", None)],
        host_image: Some(SIMULATED.into()),
        digest: None,
        direct_kernel: false,
        public: true,
        min_memory_mib: 0,
        default_user: Some("ec2-user".into()),
        created_at: Timestamp::from_millis(at_noon(2026, 1, 1)),
        traits: Traits::default(),
        registration: Registration::default(),
        tags: Tags::from([("nube:default-user".to_owned(), "ec2-user".to_owned())]),
    }
}

/// The id of an image that a cloud has of its own. They sort before those of the public images, so that whoever takes the
/// first image of a listing gets one that this cloud made.
pub fn own_id(bits: u128) -> ImageId {
    ImageId::from_entropy(bits & ((1 << 60) - 1))
}

/// `ami-0…` as AWS's are, and behind [`own_id`].
fn public_id(bits: u128) -> ImageId {
    ImageId::from_entropy(bits & ((1 << 63) - 1) | 1 << 63)
}

fn image(
    region: &Region,
    disk: Option<&str>,
    series: &Series,
    rank: usize,
    age: usize,
    release: &str,
    architecture: Architecture,
) -> Image {
    let name = fill(series.name, release, architecture);
    let bits = hash(region, &name);
    let (year, month, day) = date_in(release);
    // Of the images of one day the first series of the table is the youngest: what `most_recent` shall find.
    let created = at_noon(year, month, day) - i64::try_from(rank).unwrap_or_default() * 60_000;
    let lifetime = at_noon(year + 2, month, day.min(28));
    let deprecated = if age == 0 { lifetime.max(at_noon(2030, 1, 1)) } else { lifetime };
    let snapshot = SnapshotId::from_entropy(bits & ((1 << 63) - 1) | 1 << 63);
    Image {
        image: public_id(bits),
        owner: AccountId::from_number(series.publisher.account),
        owner_alias: Some("amazon".into()),
        description: Some(fill(series.description, release, architecture)),
        name,
        architecture,
        root_device: series.root_device.into(),
        devices: vec![device(series.root_device, GiB(series.size), series.volume_type, Some(snapshot))],
        host_image: disk.map(str::to_owned),
        digest: None,
        direct_kernel: false,
        public: true,
        min_memory_mib: 0,
        default_user: Some(series.publisher.user.into()),
        created_at: Timestamp::from_millis(created),
        traits: Traits {
            platform: series.publisher.platform,
            boot_mode: match architecture {
                Architecture::X86_64 => series.boot_mode,
                Architecture::Arm64 => Some(BootMode::Uefi),
            },
            imds_v2: series.imds_v2,
            deprecated_at: Some(Timestamp::from_millis(deprecated)),
        },
        registration: Registration::default(),
        tags: Tags::default(),
    }
}

fn device(name: &str, size: GiB, volume_type: &str, snapshot: Option<SnapshotId>) -> ImageDevice {
    ImageDevice {
        device: name.to_owned(),
        size,
        snapshot,
        delete_on_termination: true,
        volume_type: volume_type.to_owned(),
        iops: None,
        throughput: None,
        encryption: None,
    }
}

/// FNV-1a over `region/name`, then mixed, for FNV's high bits know little of the last letters.
fn hash(region: &Region, name: &str) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = region.as_str().bytes().chain([b'/']).chain(name.bytes());
    let fnv = bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    (fnv ^ fnv >> 67).wrapping_mul(OFFSET | 1)
}

/// The date in a release, written `20260930` or `2026.09.30`.
fn date_in(release: &str) -> (i64, i64, i64) {
    let dotless = release.replace('.', "");
    // `2023.12.20260930.0` and `2.0.20260930.0` have other numbers in front.
    let parts = release.split(['.', '-']).chain([dotless.as_str()]);
    let date = parts.filter(|part| part.starts_with("20")).find_map(|part| {
        let digits = part.get(..8).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<i64>().ok()
    });
    let date = date.unwrap_or(20_260_101);
    (date / 10_000, date / 100 % 100, date % 100)
}

/// Noon of a day, in milliseconds since 1970.
fn at_noon(year: i64, month: i64, day: i64) -> i64 {
    // Howard Hinnant's algorithm: years begin in March, so that the leap day is the last.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    days * 86_400_000 + 43_200_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn region(name: &str) -> Region {
        Region::parse(name).unwrap()
    }

    #[test]
    fn ids_are_unique_in_the_whole_world_and_stay() {
        let mut ids = BTreeSet::new();
        let mut count = 0;
        for facts in model::region::COMMERCIAL {
            for image in all(&region(facts.name), None) {
                assert!(image.image.to_string().starts_with("ami-0"), "{}", image.image);
                assert!(image.image > own_id(u128::MAX), "{} sorts behind a cloud's own", image.image);
                ids.insert(image.image);
                count += 1;
            }
        }
        assert_eq!(ids.len(), count);
        assert_eq!(all(&region("us-east-1"), None)[0].image, all(&region("us-east-1"), None)[0].image);
    }

    #[test]
    fn names_and_descriptions_are_filled_in() {
        let images = all(&region("us-east-1"), None);
        let names: BTreeSet<&str> = images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names.len(), images.len());
        let short: BTreeSet<&str> = names.iter().map(|name| short_name(name)).collect();
        assert_eq!(short.len(), names.len());
        assert!(short.iter().all(|name| name.len() <= 64));
        for image in &images {
            let description = image.description.as_deref().unwrap();
            assert!(!image.name.contains('{') && !description.contains('{'), "{} {description}", image.name);
        }
        for name in [
            "al2023-ami-2023.12.20260930.0-kernel-6.1-x86_64",
            "amzn2-ami-kernel-5.10-hvm-2.0.20260930.0-arm64-gp2",
            "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20260904",
            "debian-13-arm64-20260914-2601",
            "RHEL-10.0.0_HVM-20260812-x86_64-0-Hourly2-GP3",
            "suse-sles-15-sp7-v20260630-hvm-ssd-x86_64",
            "Windows_Server-2022-English-Full-Base-2026.09.17",
        ] {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn dates_follow_from_the_release() {
        for (release, date) in [
            ("2023.12.20260930.0", (2026, 9, 30)),
            ("2.0.20260930.0", (2026, 9, 30)),
            ("20261006-2623", (2026, 10, 6)),
            ("2026.09.17", (2026, 9, 17)),
        ] {
            assert_eq!(date_in(release), date, "{release}");
        }
        assert_eq!(at_noon(1970, 1, 1), 43_200_000);
        assert_eq!(at_noon(2026, 1, 1), 1_767_225_600_000 + 43_200_000);
        assert_eq!(at_noon(2024, 2, 29) + 86_400_000, at_noon(2024, 3, 1));
    }

    #[test]
    fn the_newest_of_each_kind_is_not_deprecated_for_years_and_older_ones_are_older() {
        let images = all(&region("eu-west-1"), None);
        for series in SERIES {
            assert!(series.releases.is_sorted_by_key(|release| std::cmp::Reverse(date_in(release))));
            let name = fill(series.name, series.releases[0], series.architectures[0]);
            let newest = images.iter().find(|image| image.name == name).unwrap();
            assert!(newest.traits.deprecated_at.unwrap().as_millis() >= at_noon(2030, 1, 1), "{name}");
        }
    }
}
