package engine

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// options returns those of an engine with its files in dir, in memory if dir is empty.
func options(dir string) Options {
	return Options{
		Dir:             dir,
		SyncInterval:    time.Minute,
		MaxMessageBytes: 1 << 20,
		Logger:          slog.New(slog.DiscardHandler),
	}
}

// start starts an engine on dir, which the test may stop earlier than at its end.
func start(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := Start(options(dir))
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

// connect returns a connection to s.
func connect(t *testing.T, s *Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

// fill creates a stream, with as many messages as there are texts.
func fill(t *testing.T, s *Server, stream string, texts ...string) {
	t.Helper()
	js := connect(t, s)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{stream}})
	require.NoError(t, err)
	for _, text := range texts {
		_, err := js.Publish(t.Context(), stream, []byte(text))
		require.NoError(t, err)
	}
}

// count returns how many messages a stream has.
func count(t *testing.T, s *Server, stream string) uint64 {
	t.Helper()
	found, err := connect(t, s).Stream(t.Context(), stream)
	require.NoError(t, err)
	return found.CachedInfo().State.Msgs
}

// streamDir returns the directory of a stream.
func streamDir(dir, stream string) string { return filepath.Join(dir, StreamsDir, stream) }

func TestEngine_DirOfARunningEngineIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, dir)

	_, inUse := Start(options(dir))
	first.Shutdown()
	again, free := Start(options(dir))

	assert.Equal(t, &DirInUseError{Dir: dir, Owner: fmt.Sprintf(" (pid %d)", os.Getpid())}, inUse)
	require.NoError(t, free)
	again.Shutdown()
}

func TestEngine_FilesSurviveARestartAndMemoryDoesNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, memory := start(t, dir), start(t, "")
	fill(t, file, "S", "a", "b")
	fill(t, memory, "S", "a", "b")
	temporary := memory.tempDir
	file.Shutdown()
	memory.Shutdown()

	again := start(t, dir)

	assert.EqualValues(t, 2, count(t, again, "S"))
	assert.NoDirExists(t, temporary)
}

func TestEngine_HalfDeletedTopicIsMovedAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	fill(t, s, TopicPrefix+"deleted", "a")
	fill(t, s, TopicPrefix+"kept", "a")
	s.Shutdown()
	require.NoError(t, os.Remove(filepath.Join(streamDir(dir, TopicPrefix+"deleted"), settingsFile)))

	s = start(t, dir)
	fill(t, s, TopicPrefix+"deleted")

	assert.Zero(t, count(t, s, TopicPrefix+"deleted"), "the next topic of that name is empty")
	assert.EqualValues(t, 1, count(t, s, TopicPrefix+"kept"))
	moved, err := filepath.Glob(filepath.Join(dir, deletedDir, TopicPrefix+"deleted-*", blocks))
	require.NoError(t, err)
	assert.Len(t, moved, 1, "its messages are not removed")
}

func TestEngine_WrongChecksumIsRepaired(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		checksum string
	}{
		{name: "of other settings", checksum: "0123456789abcdef"},
		{name: "empty", checksum: ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := start(t, dir)
			fill(t, s, "S", "a", "b")
			s.Shutdown()
			path := filepath.Join(streamDir(dir, "S"), checksumFile)
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, []byte(test.checksum), 0o600))
			require.NoError(t, os.Chtimes(path, time.Time{}, time.Unix(1, 0))) // the settings were written after it

			s = start(t, dir)

			assert.EqualValues(t, 2, count(t, s, "S"))
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got))
		})
	}
}

func TestEngine_UnfinishedCreationDoesNotPreventTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(streamDir(dir, TopicPrefix+"T"), "msgs"), 0o750))

	s := start(t, dir)
	fill(t, s, TopicPrefix+"T", "a")

	assert.EqualValues(t, 1, count(t, s, TopicPrefix+"T"))
}

func TestEngine_DeletedFilesAreRemovedByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	removing, other := streamDir(dir, ".S"), streamDir(dir, ".T")
	require.NoError(t, os.MkdirAll(filepath.Join(removing, "msgs"), 0o750))
	require.NoError(t, os.MkdirAll(other, 0o750))

	require.NoError(t, s.RemoveDeletedFiles("S"))

	assert.NoDirExists(t, removing)
	assert.DirExists(t, other)
}

func TestEngine_FullDiskRefusesNewDataUntilThereIsSpace(t *testing.T) {
	t.Parallel()
	free, total := uint64(maxReserve-1), uint64(100<<30)
	w := &diskWatch{
		dir:   t.TempDir(),
		space: func(string) (uint64, uint64, error) { return free, total, nil },
		log:   slog.New(slog.DiscardHandler),
	}

	w.look()
	full := w.checkSpace(1, 100)
	free = maxReserve + 2*messageOverhead
	w.look()
	fits := w.checkSpace(1, 100)
	free = maxReserve - 1 // the budget is used up by the next message, so that the disk is looked at
	tooMuch := w.checkSpace(1, 2*messageOverhead)

	assert.Equal(t, &StorageFullError{Free: maxReserve - 1, Reserve: maxReserve}, full)
	assert.NoError(t, fits)
	assert.Equal(t, full, tooMuch)
}

func TestEngine_ReserveOfASmallDiskIsAPartOfIt(t *testing.T) {
	t.Parallel()
	w := &diskWatch{
		dir:   t.TempDir(),
		space: func(string) (uint64, uint64, error) { return 999, 16000, nil },
		log:   slog.New(slog.DiscardHandler),
	}

	w.look()

	assert.Equal(t, &StorageFullError{Free: 999, Reserve: 1000}, w.checkSpace(0, 0))
}

func TestEngine_SpareSpaceIsFreedOnADiskThatOthersFill(t *testing.T) {
	t.Parallel()
	free := uint64(1 << 30)
	w := &diskWatch{
		dir:   t.TempDir(),
		space: func(string) (uint64, uint64, error) { return free, 100 << 30, nil },
		log:   slog.New(slog.DiscardHandler),
	}
	spare := filepath.Join(w.dir, spareFile)

	w.look()
	info, err := os.Stat(spare)
	require.NoError(t, err)
	assert.EqualValues(t, maxSpare, info.Size())

	free = maxReserve - 1
	w.look()
	assert.FileExists(t, spare, "dq itself leaves the reserve")

	free = 0
	w.look()
	assert.NoFileExists(t, spare)

	free = maxReserve
	w.look()
	assert.NoFileExists(t, spare, "it would take the disk below the reserve again")

	free = 1 << 30
	w.look()
	assert.FileExists(t, spare)
}

func TestEngine_RestartsAfterAFailedWrite(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	fill(t, s, "S", "a")
	before := s.current()

	s.logger.Errorf("%s 'S': %v", storeFailure, errors.New("no space left on device"))
	restarted := func() bool { return s.current() != before && s.CheckSpace(0, 0) == nil }

	require.Eventually(t, restarted, time.Minute, 10*time.Millisecond)
	assert.EqualValues(t, 1, count(t, s, "S"))
}

func TestEngine_ConnectionOutlivesARestart(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	js := connect(t, s)
	fill(t, s, "S", "a")

	require.NoError(t, s.restart())
	published := func() bool {
		_, err := js.Publish(t.Context(), "S", []byte("b"))
		return err == nil
	}

	require.Eventually(t, published, time.Minute, 10*time.Millisecond)
}

func TestEngine_CutOffConnectionsAreLoggedAsErrorsWithTheReason(t *testing.T) {
	t.Parallel()
	log := make(lines, 100)
	opts := options("")
	opts.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))
	s, err := Start(opts)
	require.NoError(t, err)
	t.Cleanup(s.Shutdown)
	s.opts.MaxPending = 2 * int64(s.opts.MaxPayload)
	nc := connect(t, s).Conn()

	require.NoError(t, s.restart())
	log.await(t, "was cut off: reconnecting")
	subscribeAndReadNothing(t, s, "S")
	for range 2 * s.opts.MaxPending / (1 << 20) {
		require.NoError(t, nc.Publish("S", make([]byte, 1<<20)))
	}

	log.await(t, "Slow Consumer Detected: MaxPending of")
}

// lines receives what a logger writes.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// await waits for a line with text.
func (l lines) await(t *testing.T, text string) {
	t.Helper()
	for timeout := time.After(time.Minute); ; {
		select {
		case line := <-l:
			if strings.Contains(line, text) {
				return
			}
		case <-timeout:
			require.Fail(t, "nothing was logged", text)
		}
	}
}

// subscribeAndReadNothing connects a client that subscribes and then hangs.
func subscribeAndReadNothing(t *testing.T, s *Server, subject string) {
	t.Helper()
	client, err := s.InProcessConn()
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	go func() {
		const login = "CONNECT {\"verbose\":false,\"pass\":%q}\r\nSUB %s 1\r\nPING\r\n"
		_, _ = fmt.Fprintf(client, login, s.clients.password, subject)
	}()

	for answers := bufio.NewScanner(client); answers.Scan(); {
		if answers.Text() == "PONG" {
			return
		}
	}
	require.Fail(t, "the engine does not answer")
}

func TestEngine_FailedSyncFailsAllLaterOnes(t *testing.T) {
	t.Parallel()
	if !canSyncFileSystem {
		t.Skip("this operating system cannot sync a file system")
	}
	s, err := openSyncer(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, s.sync(t.Context()))

	s.close()
	first := s.sync(t.Context())
	s.dir, err = os.Open(t.TempDir())
	require.NoError(t, err)
	defer s.close()
	second := s.sync(t.Context())

	var unavailable *UnavailableError
	require.ErrorAs(t, first, &unavailable)
	assert.False(t, unavailable.Refused)
	assert.Equal(t, first, second)
}

func TestEngine_FlushReachesTheDiskOnlyWithFiles(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		dir  string
		want bool // Flush reaches the disk
	}{
		{name: "files", dir: t.TempDir(), want: canSyncFileSystem},
		{name: "memory", dir: ""},
	} {
		s := start(t, test.dir)
		if s.syncer != nil {
			s.syncer.failed = errors.New("a disk that fails")
		}

		err := s.Flush(t.Context())

		assert.Equal(t, test.want, err != nil, test.name)
	}
}

func TestEngine_ClientsNeedAnAddressAndTheLogin(t *testing.T) {
	t.Parallel()
	opts := options("")
	opts.Port = ClientPort{Addr: "127.0.0.1:0", User: "u", Password: "p"}
	open, err := Start(opts)
	require.NoError(t, err)
	defer open.Shutdown()
	open.OpenPort()
	closed := start(t, "")
	discard := slog.New(slog.DiscardHandler)

	_, refused := Connect(open.current().Addr().String(), discard)
	nc, accepted := Connect(open.current().Addr().String(), discard, nats.UserInfo("u", "p"))

	assert.Error(t, refused)
	require.NoError(t, accepted)
	nc.Close()
	assert.Nil(t, closed.current().Addr())
}

func TestEngine_InvalidAddressIsRefused(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"4222", "localhost:x"} {
		opts := options("")
		opts.Port.Addr = addr

		_, err := Start(opts)

		assert.ErrorContains(t, err, "listen for NATS clients on "+addr)
	}
}

func TestEngine_PortInUseEndsTheStartAtOnce(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	opts := options("")
	opts.Port = ClientPort{Addr: taken.Addr().String(), User: "u", Password: "p"}

	_, err = Start(opts) // the test would take minutes otherwise

	assert.ErrorContains(t, err, taken.Addr().String())
}

func TestEngine_BareOneStores(t *testing.T) {
	t.Parallel()
	s, err := StartBare(Options{Dir: t.TempDir(), MaxMessageBytes: 1 << 20})
	require.NoError(t, err)
	defer s.Shutdown()

	fill(t, s, "S", "a")

	assert.EqualValues(t, 1, count(t, s, "S"))
}

func TestEngine_VersionIsThatOfTheModule(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)

	assert.Contains(t, string(mod), "github.com/nats-io/nats-server/v2 "+Version())
	assert.True(t, strings.HasSuffix(Version(), server.VERSION))
}

func TestEngine_UnavailableKnowsARefusal(t *testing.T) {
	t.Parallel()
	answer := &jetstream.APIError{Description: "no"}
	wrapped := fmt.Errorf("wrapped: %w", answer)

	refused := Unavailable("publish", wrapped)
	unknown := Unavailable("publish", nats.ErrTimeout)

	assert.Equal(t, &UnavailableError{Operation: "publish", Refused: true, Err: wrapped}, refused)
	assert.ErrorIs(t, unknown, nats.ErrTimeout)
	assert.ErrorContains(t, unknown, "whether it took effect is unknown")
	assert.NotContains(t, refused.Error(), "unknown")
}
