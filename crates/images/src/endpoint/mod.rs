//! What makes AWS clients inside an image find the cloud's own API: endpoint, region and certificate authority are known
//! at boot alone, so a few lines ask the metadata service (`dynamic/nube`, `placement/region`) and write them where
//! clients look.
//!
//! [`SYSTEMD_FILES`] is for images with systemd, curl and PAM, such as Debian's: a unit fills `/etc/environment` before
//! user data runs. Nano's agent does the same by itself (`guest::endpoint`); [`PROFILE_LINE`] has its login shells read it.

/// Files of an image with systemd: path without its first slash, mode, content. Nothing else is needed to enable them.
pub const SYSTEMD_FILES: [(&str, u32, &str); 4] = [
    ("usr/lib/nube/endpoint", 0o755, include_str!("preset.sh")),
    ("usr/lib/systemd/system/nube-endpoint.service", 0o644, include_str!("preset.service")),
    (
        "usr/lib/systemd/system/multi-user.target.d/nube-endpoint.conf",
        0o644,
        "[Unit]\nWants=nube-endpoint.service\n",
    ),
    // Scripts of user data are no logins.
    (
        "usr/lib/systemd/system/cloud-final.service.d/nube-endpoint.conf",
        0o644,
        "[Service]\nEnvironmentFile=-/run/nube/endpoint.env\n",
    ),
];

/// A line of a login shell's profile.
pub const PROFILE_LINE: &str =
    "[ -r /run/nube/endpoint.env ] && set -a && . /run/nube/endpoint.env; set +a\n";
