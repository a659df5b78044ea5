import { describe, expect, it } from 'vitest';
import { cutsOf, rungFor, rungsOf, segmentAt, type Rung } from './playlists';

const INDEX = `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-SESSION-DATA:DATA-ID="millrace.gapless",VALUE="samples=441000,rate=44100,priming=1024"
#EXT-X-STREAM-INF:BANDWIDTH=170000,AVERAGE-BANDWIDTH=161000,CODECS="mp4a.40.2",STABLE-VARIANT-ID="aac-160k"
1/1/vod.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=70000,AVERAGE-BANDWIDTH=64500,CODECS="mp4a.40.2",STABLE-VARIANT-ID="aac-64k"
1/0/vod.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=800000,CODECS="fLaC",STABLE-VARIANT-ID="flac"
1/3/vod.m3u8
`;
const VOD = `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:6
#EXT-X-MAP:URI="init.mp4"
#EXTINF:0.928798,
0.m4s
#EXTINF:5.944309,
1.m4s
#EXTINF:3.126893,
2.m4s
#EXT-X-ENDLIST
`;
const AT = 'http://here/media/grant/track/index.m3u8';

describe('playlists', () => {
  it('tell the rungs in their order', () => {
    const rungs = rungsOf(INDEX, AT);
    expect(rungs.map((r) => [r.name, r.isAac, r.bps])).toEqual([['160 kbit/s', true, 161000], ['64 kbit/s', true, 64500], ['Lossless FLAC', false, 800000]]);
    expect(rungs[0]?.url).toBe('http://here/media/grant/track/1/1/vod.m3u8');
  });
  it('tell the first sample of every segment', () => {
    const cuts = cutsOf(VOD, 'http://here/media/g/t/1/1/vod.m3u8', 44100);
    expect(cuts.starts).toEqual([0, 40960, 40960 + 262144]);
    expect([cuts.init, cuts.urls[2]]).toEqual(['http://here/media/g/t/1/1/init.mp4', 'http://here/media/g/t/1/1/2.m4s']);
    expect([0, 40959, 40960, 303103, 303104, 9e9].map((sample) => segmentAt(cuts, sample))).toEqual([0, 0, 1, 1, 2, 2]);
  });
  it('keep the samples exact over a day', () => {
    for (const [rate, length] of [[44100, 262144], [48000, 286720]] as const) {
      const micros = (n: number) => Math.round((n * length * 1e6) / rate);
      const told = Array.from({ length: 15000 }, (_, n) => `#EXTINF:${((micros(n + 1) - micros(n)) / 1e6).toFixed(6)},\n${n}.m4s`);
      const cuts = cutsOf(`#EXTM3U\n#EXT-X-MAP:URI="init.mp4"\n${told.join('\n')}\n#EXT-X-ENDLIST\n`, AT, rate);
      expect(cuts.starts.every((start, n) => start === n * length)).toBe(true);
    }
  });
  it('must be whole', () => {
    expect(() => cutsOf(VOD.replace('#EXT-X-ENDLIST\n', ''), AT, 44100)).toThrow();
  });
});

describe('the next rung', () => {
  const rungs: Rung[] = [160, 64, 256].map((k) => ({ name: `${k} kbit/s`, codec: 'mp4a.40.2', isAac: true, bps: k * 1000, url: '' }));
  const flac: Rung = { name: 'Lossless FLAC', codec: 'fLaC', isAac: false, bps: 900_000, url: '' };
  const auto = (speed: number | null, now: string | null = null) => rungFor([...rungs, flac], 'auto', speed, now).name;
  it('is the chosen one, where the track has it', () => {
    expect(rungFor([...rungs, flac], 'Lossless FLAC', 1, null).name).toBe('Lossless FLAC');
    expect(rungFor(rungs, 'Lossless FLAC', 1e7, null).name).toBe('256 kbit/s');
  });
  it('follows the line, and never to another codec', () => {
    expect([null, 1e5, 330_000, 520_000, 1e9].map((speed) => auto(speed))).toEqual(['160 kbit/s', '64 kbit/s', '160 kbit/s', '256 kbit/s', '256 kbit/s']);
  });
  it('doesn’t swing at a border', () => {
    expect([auto(400_000, '160 kbit/s'), auto(400_000, '256 kbit/s'), auto(300_000, '256 kbit/s')]).toEqual(['160 kbit/s', '256 kbit/s', '64 kbit/s']);
  });
});
