// Uploads files with Uppy's tus plugin. One argument: a JSON object with endpoint, token, files (name, path, relativePath),
// meta (of all of them), tus (options of the plugin).
import { readFileSync } from 'node:fs'
import Uppy from '@uppy/core'
import Tus from '@uppy/tus'

const options = JSON.parse(process.argv[2])
const uppy = new Uppy({ meta: options.meta }).use(Tus, {
  endpoint: options.endpoint,
  headers: { Authorization: `Bearer ${options.token}` },
  ...options.tus,
})
for (const { name, path, relativePath = null } of options.files) {
  uppy.addFile({ name, type: 'application/octet-stream', data: readFileSync(path), meta: { relativePath } })
}
const { failed } = await uppy.upload()
for (const file of failed) console.error(file.name, file.error)
process.exit(failed.length ? 1 : 0)
