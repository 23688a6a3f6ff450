/** What was dropped or picked: files with the names of the folders that they are in, and the folders themselves. */

/** Whether a drag brings files from outside the page. */
export function bringsFiles(event) {
  return event.dataTransfer.types.includes("Files");
}

/**
 * What a drop brings: `{files: [{file, names}], folders: [names]}`, names being the way from where it was dropped. To
 * be called while the drop is handled: afterwards the browser has forgotten it.
 */
export async function dropped(event) {
  const found = { files: [], folders: [] };
  const items = [...event.dataTransfer.items].filter(({ kind }) => kind === "file");
  const roots = items.map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  for (const { entry, file } of roots) {
    if (entry) await walk(entry, [], found);
    else if (file) found.files.push({ file, names: [file.name] });
  }
  return found;
}

/** Let files be dropped on an element, which shows while they are above it that it takes them: `take` gets the drop. */
export function takesDrops(place, take) {
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    if (bringsFiles(event)) place.classList.add("target");
  });
  place.addEventListener("dragleave", (event) => {
    if (!place.contains(event.relatedTarget)) place.classList.remove("target");
  });
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("target");
    if (bringsFiles(event)) take(event);
  });
}

/** What an <input type="file"> holds, in the same form. */
export function picked(input) {
  const files = [...input.files].map((file) => ({ file, names: (file.webkitRelativePath || file.name).split("/") }));
  return { files, folders: [] };
}

async function walk(entry, above, found) {
  const names = [...above, entry.name];
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.files.push({ file, names });
    return;
  }
  found.folders.push(names);
  const reader = entry.createReader();
  // Each call hands out some of them, at most 100 in Chromium; an empty answer is the end.
  for (let some = await read(reader); some.length > 0; some = await read(reader)) {
    for (const child of some) await walk(child, names, found);
  }
}

function read(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}
