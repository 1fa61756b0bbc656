// The rules of the benchmark by Esper, in memory and on one thread: java Rules TAPE RULE RUNS prints, for each run
// over the tape, its matches, seconds and CPU seconds. The tape is rows of five little-endian numbers (int64
// symbol, double price, double size, int64 seq, int64 time in ms); the events exist before the clock starts.

import com.espertech.esper.common.client.EPCompiled;
import com.espertech.esper.common.client.configuration.Configuration;
import com.espertech.esper.compiler.client.CompilerArguments;
import com.espertech.esper.compiler.client.EPCompilerProvider;
import com.espertech.esper.runtime.client.EPEventService;
import com.espertech.esper.runtime.client.EPRuntime;
import com.espertech.esper.runtime.client.EPRuntimeProvider;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

public class Rules {
    static final int ROW_BYTES = 40;
    static final int SYMBOLS_MAX = 1 << 16;

    /** A trade. row: its number among those of its symbol, by which acb counts; Esper's quantifiers that have an
     * upper limit are not reluctant. */
    public record Trade(String symbol, double price, double size, long seq, long time, long row) {
        public String getSymbol() { return symbol; }
        public double getPrice() { return price; }
        public double getSize() { return size; }
        public long getSeq() { return seq; }
        public long getTime() { return time; }
        public long getRow() { return row; }
    }

    static final Map<String, String> RULES = Map.of(
        "ab", rule("B", "A B", "A as A.size > 490, B as B.price > A.price"),
        "acb", rule("B", "A C*? B", "C as C.row - A.row < 6 and C.time - A.time < 5000, "
            + "B as B.price > A.price + 0.02 and B.row - A.row < 7 and B.time - A.time < 5000"),
        "abc", rule("C", "A B{3,} C", "B as B.price > prev(B.price), "
            + "C as C.price < prev(C.price) and C.time - A.time < 10000"));

    static String rule(String last, String pattern, String define) {
        return "select * from Trade match_recognize (partition by symbol measures A.seq as first_seq, "
            + last + ".seq as last_seq, " + last + ".price - A.price as strength "
            + "after match skip past last row pattern (" + pattern + ") define " + define + ")";
    }

    public static void main(String[] arguments) throws Exception {
        Trade[] tape = read(Path.of(arguments[0]));
        for (int run = 0; run < Integer.parseInt(arguments[2]); run++) {
            measure(tape, RULES.get(arguments[1]), "run" + run);
        }
    }

    static Trade[] read(Path path) throws Exception {
        ByteBuffer raw = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
        String[] names = new String[SYMBOLS_MAX];
        long[] rows = new long[SYMBOLS_MAX];
        Trade[] tape = new Trade[raw.capacity() / ROW_BYTES];
        for (int i = 0; i < tape.length; i++) {
            int symbol = (int) raw.getLong();
            if (names[symbol] == null) {
                names[symbol] = "S" + symbol;
            }
            tape[i] = new Trade(names[symbol], raw.getDouble(), raw.getDouble(), raw.getLong(), raw.getLong(),
                rows[symbol]++);
        }
        return tape;
    }

    static void measure(Trade[] tape, String rule, String name) throws Exception {
        Configuration configuration = new Configuration();
        configuration.getCommon().addEventType(Trade.class);
        configuration.getRuntime().getThreading().setInternalTimerEnabled(false);
        configuration.getRuntime().getThreading().setListenerDispatchPreserveOrder(false);
        EPCompiled compiled = EPCompilerProvider.getCompiler().compile(rule, new CompilerArguments(configuration));
        EPRuntime runtime = EPRuntimeProvider.getRuntime(name, configuration);
        runtime.initialize();
        long[] matches = {0};
        runtime.getDeploymentService().deploy(compiled).getStatements()[0]
            .addListener((found, removed, statement, source) -> matches[0] += found.length);
        EPEventService events = runtime.getEventService();
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        long cpu = threads.getCurrentThreadCpuTime();
        long began = System.nanoTime();
        for (Trade trade : tape) {
            events.sendEventBean(trade, "Trade");
        }
        double seconds = (System.nanoTime() - began) / 1e9;
        double cpuSeconds = (threads.getCurrentThreadCpuTime() - cpu) / 1e9;
        System.out.println(matches[0] + " " + seconds + " " + cpuSeconds);
        runtime.destroy();
    }
}
