// Uploads a file with tus-js-client, as its documentation says. One argument: a JSON object with
//   endpoint, token, file, metadata, storage (a file that remembers the URL), upload (options of tus.Upload),
//   is_streamed (the file as a stream whose length isn't told),
//   dies_at (so many bytes are on their way, then the process dies as by a power loss),
//   waits_at (so many bytes have been taken, then it waits for a line on standard input).
import { createReadStream, statSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { FileUrlStorage, Upload } from 'tus-js-client'

const options = JSON.parse(process.argv[2])
const file = options.is_streamed ? createReadStream(options.file).pipe(new PassThrough()) : createReadStream(options.file)
let taken = 0
let hasWaited = false

async function wait() {
  hasWaited = true
  console.log('waits')
  for await (const _ of createInterface({ input: process.stdin })) return
}

const upload = new Upload(file, {
  endpoint: options.endpoint,
  headers: { Authorization: `Bearer ${options.token}` },
  metadata: options.metadata,
  urlStorage: new FileUrlStorage(options.storage),
  fingerprint: async () => `${options.file} ${statSync(options.file).size}`,
  retryDelays: [0, 100, 200, 400, 800, 1600, 3200],
  ...options.upload,
  onProgress(sent) {
    if (options.dies_at && sent >= options.dies_at) process.kill(process.pid, 'SIGKILL')
  },
  onChunkComplete(_, accepted) {
    taken = accepted
  },
  async onBeforeRequest(request) {
    console.log(request.getMethod(), request.getHeader('Upload-Offset') ?? '')
    if (options.waits_at && taken >= options.waits_at && !hasWaited) await wait()
  },
  onError(error) {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess() {
    console.log('done')
    process.exit(0)
  },
})

const [previous] = await upload.findPreviousUploads()
if (previous) upload.resumeFromPreviousUpload(previous)
upload.start()
